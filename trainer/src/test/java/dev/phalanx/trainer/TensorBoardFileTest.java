package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.WireFormat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class TensorBoardFileTest {
  @TempDir private Path folder = Path.of("");

  @Test
  void scalarsComeBackFromRecordsWithRightChecksums() throws IOException {
    try (TensorBoardFile file = TensorBoardFile.create(folder.resolve("deep/er"))) {
      file.scalar("train/loss", 7, 1.5);
      file.scalar("evaluation/loss", 1L << 40, -2);
    }
    assertThat(read())
        .containsExactly("brain.Event:2", "7 train/loss 1.5", "1099511627776 evaluation/loss -2.0");
  }

  @Test
  void whatIsFlushedIsThereWhileTheJobRuns() throws IOException {
    try (TensorBoardFile file = TensorBoardFile.create(folder.resolve("deep/er"))) {
      assertThat(read()).hasSize(1);
      file.scalar("a", 1, 1);
      file.flush();
      assertThat(read()).hasSize(2);
    }
  }

  private List<String> read() throws IOException {
    List<Path> files;
    try (var list = Files.list(folder.resolve("deep/er"))) {
      files = list.toList();
    }
    assertThat(files).singleElement().asString().contains("tfevents");
    ByteBuffer bytes =
        ByteBuffer.wrap(Files.readAllBytes(files.get(0))).order(ByteOrder.LITTLE_ENDIAN);
    List<String> events = new ArrayList<>();
    while (bytes.hasRemaining()) {
      byte[] length = take(bytes, 8);
      byte[] event =
          take(bytes, (int) ByteBuffer.wrap(length).order(ByteOrder.LITTLE_ENDIAN).getLong());
      events.add(text(event));
    }
    return events;
  }

  private static byte[] take(ByteBuffer bytes, int count) {
    byte[] part = new byte[count];
    bytes.get(part);
    CRC32C checksum = new CRC32C();
    checksum.update(part);
    long masked =
        ((checksum.getValue() >>> 15 | checksum.getValue() << 17) + 0xa282ead8L) & 0xffffffffL;
    assertThat(bytes.getInt() & 0xffffffffL).isEqualTo(masked);
    return part;
  }

  /** The values of all fields but times, one after the other. */
  private static String text(byte[] message) throws IOException {
    CodedInputStream input = CodedInputStream.newInstance(message);
    List<String> values = new ArrayList<>();
    for (int tag = input.readTag(); tag != 0; tag = input.readTag()) {
      switch (WireFormat.getTagWireType(tag)) {
        case WireFormat.WIRETYPE_FIXED64 -> assertThat(input.readDouble()).isGreaterThan(1.7e9);
        case WireFormat.WIRETYPE_FIXED32 -> values.add(Float.toString(input.readFloat()));
        case WireFormat.WIRETYPE_VARINT -> values.add(Long.toString(input.readInt64()));
        default -> {
          byte[] inner = input.readByteArray();
          boolean isText = inner[0] >= 'a';
          values.add(isText ? new String(inner, StandardCharsets.UTF_8) : text(inner));
        }
      }
    }
    return String.join(" ", values);
  }
}
