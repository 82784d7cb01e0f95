package dev.phalanx.checkpoint.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter.Entry;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32C;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.EdgeCasesMode;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.lifecycle.AfterContainer;

/** Any tensors come back, any damage to a header is noticed, any full disk is reported. */
final class SafetensorsPropertyTest {
  private static final Path FILE = RawFile.temporary();
  private static final HostMemory MEMORY = new HostMemory();

  @AfterContainer
  static void freeMemory() {
    MEMORY.close();
  }

  /**
   * A tensor to write.
   *
   * @param sizes few and small, zero among them
   */
  record Described(String name, DType dtype, List<Long> sizes) {
    long[] shape() {
      return sizes.stream().mapToLong(Long::longValue).toArray();
    }
  }

  @Provide
  Arbitrary<List<Described>> descriptions() {
    Arbitrary<List<Long>> sizes = Arbitraries.longs().between(0, 5).list().ofMaxSize(4);
    return Combinators.combine(texts(), Arbitraries.of(DType.class), sizes)
        .as(Described::new)
        .list()
        .ofMaxSize(8)
        .uniqueElements(Described::name);
  }

  @Provide
  Arbitrary<Map<String, String>> metadata() {
    return Arbitraries.maps(texts(), texts()).ofMaxSize(4);
  }

  /** Anything that UTF-8 can carry: line breaks, quotes and the empty text as well. */
  private static Arbitrary<String> texts() {
    return Arbitraries.oneOf(
        Arbitraries.strings().alpha().ofMaxLength(5),
        Arbitraries.strings()
            .ofMaxLength(12)
            .filter(text -> StandardCharsets.UTF_8.newEncoder().canEncode(text)),
        Arbitraries.of("", "\n", "\"", "\\", "{", "\u0000", "\u2028", "😀", "a.b/c"));
  }

  @Property(tries = 300, edgeCases = EdgeCasesMode.NONE)
  void anyTensorsComeBackWithTheirNamesTypesAndShapes(
      @ForAll("descriptions") List<Described> descriptions,
      @ForAll("metadata") Map<String, String> metadata)
      throws IOException {
    List<Entry> entries = new ArrayList<>();
    for (Described described : descriptions) {
      entries.add(
          new Entry(
              described.name(),
              MEMORY.random(entries.size(), described.dtype(), described.shape())));
    }
    Files.delete(FILE);
    SafetensorsWriter.Written written = SafetensorsWriter.write(FILE, metadata, entries);

    assertThat(written.bytes())
        .isEqualTo(SafetensorsWriter.size(metadata, entries))
        .isEqualTo(Files.size(FILE));
    assertThat(written.crc32c()).isEqualTo(checksum(Files.readAllBytes(FILE)));
    try (SafetensorsFile read = SafetensorsFile.open(FILE)) {
      assertThat(read.metadata()).isEqualTo(metadata);
      assertThat(read.names()).containsExactlyElementsOf(names(entries));
      for (Entry entry : entries) {
        Tensor original = entry.tensor();
        assertThat(read.shape(entry.name())).isEqualTo(original.shape());
        assertThat(read.typeName(entry.name())).isEqualTo(StoredType.of(original.dtype()).name());
        Tensor copy = MEMORY.blank(original.dtype(), original.shape());
        read.read(entry.name(), copy, MEMORY.engine());
        assertThat(HostMemory.bytes(copy)).isEqualTo(HostMemory.bytes(original));
      }
    }
  }

  private static List<String> names(List<Entry> entries) {
    return entries.stream().map(Entry::name).toList();
  }

  private static int checksum(byte[] bytes) {
    CRC32C checksum = new CRC32C();
    checksum.update(bytes);
    return (int) checksum.getValue();
  }

  /**
   * A change of some bytes.
   *
   * @param place in thousandths of the header and its length prefix
   */
  record Change(Kind kind, int place, byte value) {
    enum Kind {
      FLIP,
      SET,
      CUT,
      INSERT
    }

    byte[] applyTo(byte[] file, int headerEnd) {
      int at = Math.min(file.length - 1, place * headerEnd / 1000);
      byte[] changed =
          switch (kind) {
            case FLIP, SET -> file.clone();
            case CUT -> new byte[file.length - 1];
            case INSERT -> new byte[file.length + 1];
          };
      switch (kind) {
        case FLIP -> changed[at] ^= (byte) (1 << (value & 7));
        case SET -> changed[at] = value;
        case CUT -> {
          System.arraycopy(file, 0, changed, 0, at);
          System.arraycopy(file, at + 1, changed, at, file.length - at - 1);
        }
        case INSERT -> {
          System.arraycopy(file, 0, changed, 0, at);
          changed[at] = value;
          System.arraycopy(file, at, changed, at + 1, file.length - at);
        }
      }
      return changed;
    }
  }

  @Provide
  Arbitrary<List<Change>> changes() {
    Arbitrary<Byte> bytes =
        Arbitraries.oneOf(
            Arbitraries.bytes(),
            Arbitraries.of(asBytes("0123456789-+.eE\"'\\[]{},:ntfuFIB_ \n/"))); // JSON's own
    return Combinators.combine(
            Arbitraries.of(Change.Kind.class), Arbitraries.integers().between(0, 999), bytes)
        .as(Change::new)
        .list()
        .ofMinSize(1)
        .ofMaxSize(3);
  }

  private static List<Byte> asBytes(String text) {
    return text.chars().mapToObj(c -> (byte) c).toList();
  }

  @Property(tries = 4000)
  void aChangedHeaderIsRefusedOrDescribesTheFile(@ForAll("changes") List<Change> changes)
      throws IOException {
    byte[] file = ValidFile.bytes(MEMORY);
    int headerEnd = ValidFile.headerEnd(file);
    for (Change change : changes) {
      file = change.applyTo(file, headerEnd);
    }
    assertRefusedOrReadable(Files.write(FILE, file));
  }

  @Example
  void anyChangedBitOfTheHeaderIsRefusedOrDescribesTheFile() throws IOException {
    byte[] whole = ValidFile.bytes(MEMORY);
    for (int bit = 0; bit < ValidFile.headerEnd(whole) * 8; bit++) {
      byte[] changed = whole.clone();
      changed[bit / 8] ^= (byte) (1 << (bit % 8));
      assertRefusedOrReadable(Files.write(FILE, changed));
    }
  }

  /**
   * A changed digit or letter may describe another valid file (with another name, say). Then all of
   * its bytes belong to one of its tensors, and those can be read.
   */
  private static void assertRefusedOrReadable(Path file) throws IOException {
    long before = Refusals.allocatedBytes();
    try (SafetensorsFile opened = SafetensorsFile.open(file)) {
      assertThat(Refusals.allocatedBytes() - before).isLessThan(Refusals.MOST_BYTES_ALLOCATED);
      long described = 0;
      for (String name : opened.names()) {
        Shape shape = opened.shape(name);
        StoredType type = StoredType.valueOf(opened.typeName(name));
        described += shape.elementCount() * type.byteSize();
        if (type.dtype().isPresent()) {
          try (Tensor tensor = MEMORY.arena().allocate(type.dtype().get(), shape)) {
            opened.read(name, tensor, MEMORY.engine());
          }
        }
      }
      assertThat(described)
          .isEqualTo(Files.size(file) - ValidFile.headerEnd(Files.readAllBytes(file)));
    } catch (BadCheckpointException e) {
      assertThat(Refusals.allocatedBytes() - before).isLessThan(Refusals.MOST_BYTES_ALLOCATED);
      assertThat(e).hasMessageContaining(file.toString());
      Refusals.assertOneLine(e);
    }
  }

  @Property(tries = 200)
  void aFullDiskIsReportedWhereverItEndsAndNothingIsSkippedBefore(
      @ForAll @IntRange(max = 999) int part, @ForAll @IntRange(min = 1, max = 70) int pieceBytes)
      throws IOException {
    List<Entry> entries = ValidFile.entries(MEMORY);
    byte[] whole = ValidFile.bytes(entries);
    int capacity = part * whole.length / 1000;
    ByteArrayOutputStream written = new ByteArrayOutputStream();
    SmallDisk disk = new SmallDisk(Channels.newChannel(written), capacity, pieceBytes);

    assertThatThrownBy(() -> SafetensorsWriter.write(disk, Map.of("format", "phalanx"), entries))
        .isInstanceOf(IOException.class)
        .hasMessage(SmallDisk.FULL);
    assertThat(written.toByteArray()).isEqualTo(Arrays.copyOf(whole, capacity));
  }

  @Property(tries = 50)
  void aChannelThatTakesLittleAtOnceGetsTheSameBytes(
      @ForAll @IntRange(min = 1, max = 300) int pieceBytes) throws IOException {
    List<Entry> entries = ValidFile.entries(MEMORY);
    ByteArrayOutputStream written = new ByteArrayOutputStream();
    SmallDisk disk = new SmallDisk(Channels.newChannel(written), Long.MAX_VALUE, pieceBytes);

    SafetensorsWriter.write(disk, Map.of("format", "phalanx"), entries);

    assertThat(written.toByteArray()).isEqualTo(ValidFile.bytes(entries));
  }
}
