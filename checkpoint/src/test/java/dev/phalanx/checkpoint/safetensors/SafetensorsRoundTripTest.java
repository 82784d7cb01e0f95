package dev.phalanx.checkpoint.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter.Entry;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What is written comes back, also in another type and in a view. */
final class SafetensorsRoundTripTest {
  private final HostMemory memory = new HostMemory();

  @TempDir private Path folder = Path.of("");

  @AfterEach
  void freeMemory() {
    memory.close();
  }

  @Test
  void everyTypeOfTensorsHasATypeOfTheFormat() {
    Set<StoredType> used = new HashSet<>();
    for (DType dtype : DType.values()) {
      StoredType stored = StoredType.of(dtype);
      assertThat(stored.dtype()).contains(dtype);
      assertThat(stored.byteSize()).isEqualTo(dtype.byteSize());
      assertThat(used.add(stored)).isTrue();
    }
  }

  @Test
  void theBytesAreThoseOfTheFormat() throws IOException {
    Tensor a = memory.random(1, DType.BFLOAT16, 1, 2);
    Tensor b = memory.random(2, DType.UINT8);
    Map<String, String> metadata = new LinkedHashMap<>(Map.of("z", "26"));
    metadata.put("a", "1");
    Path file = folder.resolve("x.safetensors");

    SafetensorsWriter.write(file, metadata, List.of(new Entry("b", a), new Entry("a", b)));

    String header =
        "{\"__metadata__\":{\"a\":\"1\",\"z\":\"26\"},"
            + "\"b\":{\"dtype\":\"BF16\",\"shape\":[1,2],\"data_offsets\":[0,4]},"
            + "\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[4,5]}}";
    String padded = header + " ".repeat((8 - header.length() % 8) % 8);
    byte[] data = new byte[5];
    System.arraycopy(HostMemory.bytes(a), 0, data, 0, 4);
    System.arraycopy(HostMemory.bytes(b), 0, data, 4, 1);
    assertThat(Files.readAllBytes(file)).isEqualTo(RawFile.bytes(padded, data));
  }

  @Test
  void theSameTensorsGiveTheSameBytesWhateverTheOrderOfTheMetadata() throws IOException {
    List<Entry> entries = List.of(new Entry("x", memory.random(3, DType.FLOAT32, 7, 3)));
    List<byte[]> files = new ArrayList<>();
    for (List<String> order : List.of(List.of("p", "q", "r"), List.of("r", "q", "p"))) {
      Map<String, String> metadata = new LinkedHashMap<>();
      order.forEach(key -> metadata.put(key, key));
      Path file = folder.resolve(String.join("", order));
      SafetensorsWriter.write(file, metadata, entries);
      files.add(Files.readAllBytes(file));
    }

    assertThat(files.get(0)).isEqualTo(files.get(1));
  }

  @ParameterizedTest
  @CsvSource({
    "F32, 0000000000000040000028c1",
    "BF16, 0000004028c1",
    "F16, 0000004040c9",
    "F64, 0000000000000000000000000000004000000000000025c0",
    "I32, 0000000002000000f6ffffff",
    "I64, 00000000000000000200000000000000f6ffffffffffffff",
    "U8, 0002f6",
  })
  void storedNumbersAreConvertedToTheTypeOfTheDestination(String type, String hexadecimal)
      throws IOException {
    byte[] data = HexFormat.of().parseHex(hexadecimal);
    String header =
        String.format(
            "{\"x\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%d]}}", type, data.length);
    Path file = Files.write(folder.resolve("x.safetensors"), RawFile.bytes(header, data));
    float last =
        switch (type) {
          case "U8" -> 246;
          case "I32", "I64" -> -10;
          default -> -10.5f;
        };

    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      Tensor floats = memory.blank(DType.FLOAT32, Shape.of(3));
      read.read("x", floats, memory.engine());
      assertThat(HostMemory.floats(floats)).containsExactly(0, 2, last);

      Tensor narrow = memory.blank(DType.BFLOAT16, Shape.of(3));
      read.read("x", narrow, memory.engine());
      memory.engine().copy(narrow, floats);
      assertThat(HostMemory.floats(floats)).containsExactly(0, 2, last);
    }
  }

  @Test
  void numbersBetweenTwoOfANarrowTypeAreRoundedToTheNearest() throws IOException {
    Tensor stored = memory.arena().allocate(DType.FLOAT32, 3);
    stored.byteBuffer(0, 12).putFloat(1 + 0x1p-8f).putFloat(1 + 0x3p-8f).putFloat(1 + 0x1.1p-8f);
    Path file = folder.resolve("x.safetensors");
    SafetensorsWriter.write(file, Map.of(), List.of(new Entry("x", stored)));

    Tensor narrow = memory.blank(DType.BFLOAT16, Shape.of(3));
    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      read.read("x", narrow, memory.engine());
    }

    Tensor wide = memory.blank(DType.FLOAT32, Shape.of(3));
    memory.engine().copy(narrow, wide);
    assertThat(HostMemory.floats(wide)).containsExactly(1, 1 + 0x1p-6f, 1 + 0x1p-7f);
  }

  /** Around the eight MiB that are converted at once: in rows, within a row, in one long row. */
  static Stream<Shape> largeShapes() {
    return Stream.of(
        Shape.of(2_500_001), Shape.of(5, 1, 500_009), Shape.of(1, 2, 2_100_001), Shape.of(0, 9));
  }

  @ParameterizedTest
  @MethodSource("largeShapes")
  void tensorsLargerThanOneReadAreConvertedWhole(Shape shape) throws IOException {
    Tensor stored = memory.counting(shape.toArray());
    Path file = folder.resolve("x.safetensors");
    SafetensorsWriter.write(file, Map.of(), List.of(new Entry("x", stored)));

    Tensor narrow = memory.blank(DType.BFLOAT16, shape);
    Tensor same = memory.blank(DType.FLOAT32, shape);
    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      read.read("x", narrow, memory.engine());
      read.read("x", same, memory.engine());
    }

    Tensor expected = memory.blank(DType.BFLOAT16, shape);
    memory.engine().copy(stored, expected);
    assertThat(HostMemory.bytes(narrow)).isEqualTo(HostMemory.bytes(expected));
    assertThat(HostMemory.bytes(same)).isEqualTo(HostMemory.bytes(stored));
  }

  /** The second size takes more than one read. */
  @ParameterizedTest
  @CsvSource({
    "5, 3, FLOAT32",
    "5, 3, BFLOAT16",
    "4100, 2100, FLOAT32",
    "4100, 2100, BFLOAT16",
    "1, 1, FLOAT32"
  })
  void rowsAndColumnsOfAMatrixAreReadAlone(long rows, long columns, DType dtype)
      throws IOException {
    Path file = folder.resolve("x.safetensors");
    Tensor stored = memory.counting(rows, columns);
    SafetensorsWriter.write(file, Map.of(), List.of(new Entry("x", stored)));
    Tensor all = memory.blank(dtype, stored.shape());
    memory.engine().copy(stored, all);
    long firstRow = rows / 3;
    long firstColumn = columns / 2;
    Tensor someRows = memory.blank(dtype, Shape.of(rows - firstRow, columns));
    Tensor turned = memory.blank(dtype, Shape.of(columns - firstColumn, rows));

    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      read.readRows("x", stored.shape(), firstRow, someRows, memory.engine());
      Tensor someColumns = turned.transpose(0, 1);
      read.readColumns("x", stored.shape(), firstColumn, someColumns, memory.engine());
    }

    Tensor expectedRows = all.slice(0, firstRow, rows - firstRow);
    assertThat(HostMemory.bytes(someRows)).isEqualTo(HostMemory.bytes(expectedRows));
    Tensor expectedColumns = memory.blank(dtype, turned.shape());
    memory
        .engine()
        .copy(all.slice(1, firstColumn, columns - firstColumn).transpose(0, 1), expectedColumns);
    assertThat(HostMemory.bytes(turned)).isEqualTo(HostMemory.bytes(expectedColumns));
  }

  @Test
  void rowsOfAVectorAreItsElements() throws IOException {
    Path file = folder.resolve("x.safetensors");
    SafetensorsWriter.write(file, Map.of(), List.of(new Entry("x", memory.counting(7))));
    Tensor some = memory.blank(DType.FLOAT32, Shape.of(3));
    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      read.readRows("x", Shape.of(7), 2, some, memory.engine());
      assertThat(HostMemory.floats(some)).containsExactly(-498, -497, -496);
      assertThatThrownBy(() -> read.readRows("x", Shape.of(8), 2, some, memory.engine()))
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageContaining("has the shape [7] and the model wants [8]");
      assertThatThrownBy(() -> read.readRows("x", Shape.of(7), 5, some, memory.engine()))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("is no part of [7] from 5 on");
    }
  }

  @Test
  void aStridedViewIsFilledAndNothingBesideIt() throws IOException {
    Path file = folder.resolve("x.safetensors");
    Tensor stored = memory.counting(2, 3);
    SafetensorsWriter.write(file, Map.of(), List.of(new Entry("x", stored)));
    Tensor wide = memory.arena().zeros(DType.FLOAT32, 3, 4);

    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      read.read("x", wide.slice(1, 1, 2).transpose(0, 1), memory.engine());
    }

    assertThat(HostMemory.floats(wide))
        .containsExactly(0, -500, -497, 0, 0, -499, -496, 0, 0, -498, -495, 0);
  }

  @Test
  void aContiguousPartOfALargerTensorCanBeWrittenAndRead() throws IOException {
    Path file = folder.resolve("x.safetensors");
    Tensor whole = memory.counting(4, 3);
    SafetensorsWriter.write(file, Map.of(), List.of(new Entry("x", whole.slice(0, 1, 2))));
    Tensor target = memory.arena().zeros(DType.FLOAT32, 3, 3);

    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      read.read("x", target.slice(0, 1, 2), memory.engine());
    }

    assertThat(HostMemory.floats(target))
        .containsExactly(0, 0, 0, -497, -496, -495, -494, -493, -492);
  }

  @Test
  void tensorsMayLieInAnotherOrderThanTheHeaderListsThem() throws IOException {
    String header =
        " {\"late\": {\"data_offsets\": [1, 3], \"shape\": [2], \"dtype\": \"U8\"},\n"
            + "  \"empty\": {\"dtype\": \"F32\", \"shape\": [0, 5], \"data_offsets\": [1, 1]},\n"
            + "  \"early\": {\"dtype\": \"U8\", \"shape\": [], \"data_offsets\": [0, 1]}}  ";
    Path file =
        Files.write(folder.resolve("x"), RawFile.bytes(header, (byte) 7, (byte) 8, (byte) 9));

    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      assertThat(read.names()).containsExactly("late", "empty", "early");
      assertThat(read.metadata()).isEmpty();
      Tensor late = memory.blank(DType.UINT8, Shape.of(2));
      read.read("late", late, memory.engine());
      assertThat(HostMemory.bytes(late)).containsExactly(8, 9);
      Tensor early = memory.blank(DType.UINT8, Shape.of());
      read.read("early", early, memory.engine());
      assertThat(HostMemory.bytes(early)).containsExactly(7);
      read.read("empty", memory.blank(DType.BFLOAT16, Shape.of(0, 5)), memory.engine());
    }
  }

  @Test
  void aFileWithoutTensorsIsValid() throws IOException {
    Path file = folder.resolve("x.safetensors");
    SafetensorsWriter.write(file, Map.of(), List.of());

    assertThat(Files.readAllBytes(file)).isEqualTo(RawFile.bytes("{}      "));
    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      assertThat(read.path()).isEqualTo(file);
      assertThat(read.names()).isEmpty();
    }
  }
}
