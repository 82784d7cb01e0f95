package dev.phalanx.checkpoint.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Files that are not what they say: each is refused in one line, whatever it claims. */
@Timeout(60)
final class DamagedSafetensorsTest {
  private final HostMemory memory = new HostMemory();

  @TempDir private Path folder = Path.of("");

  @AfterEach
  void freeMemory() {
    memory.close();
  }

  @Test
  void everyTruncationIsRefused() throws IOException {
    byte[] whole = ValidFile.bytes(memory);
    for (int length = 0; length < whole.length; length++) {
      Path file = Files.write(folder.resolve("x.safetensors"), Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> SafetensorsFile.open(file))
          .as("%d bytes", length)
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageContaining(file.toString());
    }
  }

  @Test
  void aFileThatIsCutAfterItWasOpenedIsRefusedByTheRead() throws IOException {
    Path file = Files.write(folder.resolve("x.safetensors"), ValidFile.bytes(memory));
    Tensor tensor = memory.blank(DType.FLOAT32, Shape.of(10, 3));

    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      try (RandomAccessFile cut = new RandomAccessFile(file.toFile(), "rw")) {
        cut.setLength(cut.length() - 50);
      }
      assertThatThrownBy(() -> opened.read("wte.weight", tensor, memory.engine()))
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageContaining("it ends at byte");
    }
  }

  /** Headers with sixteen bytes of data behind them, and what the message says about each. */
  static Stream<Arguments> damagedHeaders() {
    String a = "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}";
    String b = "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[%d,%d]}";
    return Stream.of(
        // Places
        Arguments.of("{" + a + "," + String.format(b, 4, 12) + "}", "b begins at byte 4 where"),
        Arguments.of("{" + a + "," + String.format(b, 0, 8) + "}", "begins at byte 0 where byte 8"),
        Arguments.of("{" + a + "," + String.format(b, 12, 20) + "}", "b begins at byte 12 where"),
        Arguments.of("{" + String.format(b, 8, 16) + "}", "begins at byte 8 where byte 0"),
        Arguments.of("{" + a + "}", "bytes but its header describes"),
        Arguments.of("{}", "bytes but its header describes"),
        Arguments.of(tensor("F32", "[5]", "[0,20]"), "bytes but its header describes"),
        Arguments.of(tensor("U8", "[1152921504606846976]", "[0,1152921504606846976]"), "bytes but"),
        Arguments.of(tensor("F32", "[4]", "[16,0]"), "needs 16 bytes but has -16"),
        Arguments.of(tensor("F32", "[4]", "[-16,0]"), "data_offsets with -16"),
        Arguments.of(tensor("F32", "[4]", "[0,16,16]"), "data_offsets of more than 2"),
        Arguments.of(tensor("F32", "[4]", "[16]"), "lacks"),
        Arguments.of(tensor("F32", "[4]", "[0,1e1]"), "data_offsets with 1e1"),
        Arguments.of(tensor("F32", "[4]", "{}"), "data_offsets that is no list"),
        Arguments.of(tensor("F32", "[4]", "[0,18446744073709551632]"), "with 18446744073709551632"),
        Arguments.of(
            tensor("F32", "[4]", "[9223372036854775800,9223372036854775807]"), "but has 7"),
        // Shapes
        Arguments.of(tensor("F32", "[-4]", "[0,16]"), "shape with -4"),
        Arguments.of(tensor("F32", "[-2,-2]", "[0,16]"), "shape with -2"),
        Arguments.of(tensor("F32", "[4.0]", "[0,16]"), "shape with 4.0"),
        Arguments.of(tensor("F32", "[\"4\"]", "[0,16]"), "shape with 4"),
        Arguments.of(tensor("F32", "[null]", "[0,16]"), "shape with null"),
        Arguments.of(tensor("F32", "[[4]]", "[0,16]"), "shape with ["),
        Arguments.of(tensor("F32", "4", "[0,16]"), "shape that is no list"),
        Arguments.of(tensor("F32", "[3]", "[0,16]"), "needs 12 bytes but has 16"),
        Arguments.of(tensor("F32", "[9223372036854775807]", "[0,16]"), "more bytes than can"),
        Arguments.of(tensor("F32", "[9223372036854775808]", "[0,16]"), "shape with 922"),
        Arguments.of(tensor("F32", "[4294967296,4294967296]", "[0,16]"), "more elements than can"),
        Arguments.of(tensor("F64", "[2305843009213693954]", "[0,16]"), "more bytes than can"),
        Arguments.of(tensor("F32", "[" + "9".repeat(5000) + "]", "[0,16]"), "is damaged"),
        Arguments.of(
            tensor("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,4]", "[0,16]"), "more than 16 numbers"),
        // Types
        Arguments.of(tensor("F64", "[4]", "[0,16]"), "of F64 [4] needs 32 bytes but has 16"),
        Arguments.of(tensor("F99", "[4]", "[0,16]"), "unknown type 'F99'"),
        Arguments.of(tensor("f32", "[4]", "[0,16]"), "unknown type 'f32'"),
        Arguments.of("{\"a\":{\"dtype\":1,\"shape\":[4],\"data_offsets\":[0,16]}}", "no text"),
        // Keys
        Arguments.of("{" + a + "," + a + "}", "tensor a twice"),
        Arguments.of("{\"a\":{}}", "lacks a dtype, a shape or a pair"),
        Arguments.of("{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "lacks"),
        Arguments.of("{\"a\":[]}", "tensor a is no JSON object"),
        Arguments.of("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", "key 'dtype' twice"),
        Arguments.of("{\"a\":{\"shape\":[4],\"sparse\":true}}", "key 'sparse'"),
        Arguments.of("{\"__metadata__\":{},\"__metadata__\":{}," + a + "}", "__metadata__ twice"),
        Arguments.of("{\"__metadata__\":{\"k\":1}," + a + "}", "no text for k"),
        Arguments.of("{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}," + a + "}", "has k twice"),
        Arguments.of("{\"__metadata__\":[]," + a + "}", "__metadata__ is no object"),
        // JSON
        Arguments.of("[]", "no JSON object"),
        Arguments.of("  ", "no JSON object"),
        Arguments.of("{" + a, "no valid JSON"),
        Arguments.of("{" + a + "}}", "no valid JSON"),
        Arguments.of("{" + a + "} {}", "goes on after the JSON object"),
        Arguments.of("{" + a + "}\u0000", "no valid JSON"),
        Arguments.of("{" + a + ",}", "no valid JSON"),
        Arguments.of("{/**/" + a + "}", "no valid JSON"),
        Arguments.of("{'a':{}}", "no valid JSON"),
        Arguments.of("{\"a\":" + "[".repeat(100_000), "is damaged"),
        Arguments.of("{\"" + "a".repeat(100_000) + "\":{}}", "is damaged"));
  }

  private static String tensor(String dtype, String shape, String offsets) {
    return String.format(
        "{\"a\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":%s}}", dtype, shape, offsets);
  }

  @ParameterizedTest
  @MethodSource("damagedHeaders")
  void aHeaderThatDoesNotDescribeTheFileIsRefusedWithTheReason(String header, String reason)
      throws IOException {
    assertRefused(RawFile.bytes(header, new byte[16]), reason);
  }

  @ParameterizedTest
  @ValueSource(strings = {"UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32"})
  void aHeaderInAnotherEncodingIsRefused(String charset) throws IOException {
    byte[] header = tensor("F32", "[4]", "[0,16]").getBytes(Charset.forName(charset));
    assertRefused(RawFile.bytes(header, new byte[16]), "no valid JSON");
  }

  @Test
  void bytesThatAreNoUtf8AreRefused() throws IOException {
    byte[] header = tensor("F32", "[4]", "[0,16]").getBytes(StandardCharsets.UTF_8);
    header[2] = (byte) 0xff;
    assertRefused(RawFile.bytes(header, new byte[16]), "it is not in UTF-8");
  }

  @ParameterizedTest
  @ValueSource(
      longs = {0, 1, 200, 1L << 31, (1L << 32) + 56, Long.MAX_VALUE, Long.MIN_VALUE, -1, -56})
  void aHeaderLengthThatTheFileCannotHaveIsRefused(long headerBytes) throws IOException {
    byte[] file = RawFile.bytes(tensor("F32", "[4]", "[0,16]"), new byte[16]);
    ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).putLong(0, headerBytes);
    assertRefused(file, "claims a header of " + Long.toUnsignedString(headerBytes) + " bytes");
  }

  @Test
  void aHeaderLargerThanAnyModelNeedsIsNotEvenRead() throws IOException {
    Path file = folder.resolve("large.safetensors");
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.setLength(200_000_000);
      sparse.writeLong(Long.reverseBytes(100_000_001));
    }
    long before = Refusals.allocatedBytes();

    assertThatThrownBy(() -> SafetensorsFile.open(file))
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining("100000001");
    assertThat(Refusals.allocatedBytes() - before).isLessThan(Refusals.MOST_BYTES_ALLOCATED);
  }

  private void assertRefused(byte[] content, String reason) throws IOException {
    Path file = Files.write(folder.resolve("bad.safetensors"), content);
    long before = Refusals.allocatedBytes();
    assertThatThrownBy(() -> SafetensorsFile.open(file))
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageStartingWith(file + " is damaged: ")
        .hasMessageContaining(reason)
        .satisfies(Refusals::assertOneLine);
    assertThat(Refusals.allocatedBytes() - before).isLessThan(Refusals.MOST_BYTES_ALLOCATED);
  }

  /** Line breaks of all kinds, a terminal's escape, and a mark that turns the text around. */
  private static final String NASTY = "a\\nb\\r\\u001b[2Jc\\u0085\\u2028\\u2029\\u202e\\ud800z";

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"%s\":{\"dtype\":\"F99\"}}",
        "{\"a\":{\"dtype\":\"%s\"}}",
        "{\"a\":{\"%s\":1}}",
        "{\"a\":{\"shape\":[\"%s\"]}}",
        "{\"%s\":[]}",
        "{\"%s\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
        "{\"__metadata__\":{\"%s\":1}}",
        "{\"%1$s\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"%1$s\":{}}",
      })
  void whatAFileCallsThingsStaysInOneLineOfTheMessage(String header) throws IOException {
    assertRefused(RawFile.bytes(String.format(header, NASTY), new byte[4]), "?");
    assertRefused(RawFile.bytes(String.format(header, "x".repeat(9000)), new byte[4]), "");
  }

  @Test
  void theNameOfATensorStaysInOneLineWhenItCannotBeRead() throws IOException {
    String header =
        String.format("{\"%s\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[0,4]}}", NASTY);
    Path file = Files.write(folder.resolve("x"), RawFile.bytes(header, new byte[4]));

    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      String name = opened.names().iterator().next();
      assertReadRefused(opened, name, DType.FLOAT32, Shape.of(2), "has the type I16");
      assertReadRefused(opened, name, DType.FLOAT32, Shape.of(3), "the model wants [3]");
      assertReadRefused(opened, name + "\n", DType.FLOAT32, Shape.of(2), "has no tensor");
    }
  }

  private void assertReadRefused(
      SafetensorsFile file, String name, DType dtype, Shape shape, String reason) {
    Tensor destination = memory.blank(dtype, shape);
    assertThatThrownBy(() -> file.read(name, destination, memory.engine()))
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining(reason)
        .satisfies(Refusals::assertOneLine);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"I16", "I8", "U64", "U32", "U16", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "C64"})
  void aTypeWithoutTensorsOfItsKindIsListedButNotRead(String type) throws IOException {
    int size = StoredType.valueOf(type).byteSize();
    String header =
        String.format(
            "{\"x\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,%d]}}", type, size);
    Path file = Files.write(folder.resolve("x"), RawFile.bytes(header, new byte[size]));

    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      assertThat(opened.typeName("x")).isEqualTo(type);
      assertThat(opened.shape("x")).isEqualTo(Shape.of(1));
      assertReadRefused(opened, "x", DType.FLOAT32, Shape.of(1), type + ", which cannot be read");
    }
  }

  @Test
  void aMissingTensorIsReportedWithTheNearestNames() throws IOException {
    Path file = Files.write(folder.resolve("x"), ValidFile.bytes(memory));

    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      assertThatThrownBy(() -> opened.shape("wte.wieght"))
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageContaining("has no tensor wte.wieght among its 3")
          .hasMessageContaining("The nearest are wte.weight,");
    }
  }

  @Test
  void aMissingFileIsNoDamage() {
    assertThatThrownBy(() -> SafetensorsFile.open(folder.resolve("none")))
        .isInstanceOf(NoSuchFileException.class);
  }
}
