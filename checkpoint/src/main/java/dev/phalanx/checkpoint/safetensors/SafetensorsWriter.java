package dev.phalanx.checkpoint.safetensors;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32C;

/** Writes safetensors files. */
public final class SafetensorsWriter {
  private static final int CHUNK_BYTES = 8 << 20;
  private static final int HEADER_ALIGNMENT = 8;

  private SafetensorsWriter() {}

  /**
   * A tensor to write.
   *
   * @param tensor contiguous, in host memory
   */
  public record Entry(String name, Tensor tensor) {}

  /**
   * What was written.
   *
   * @param checksum CRC-32C of the whole file
   */
  public record Written(long bytes, int checksum) {}

  /** How many bytes {@link #write} will write. */
  public static long size(Map<String, String> metadata, List<Entry> entries) {
    return Long.BYTES
        + header(metadata, entries).length
        + entries.stream().mapToLong(entry -> entry.tensor().byteSize()).sum();
  }

  /**
   * Writes a new file and returns when the disk has it.
   *
   * @throws IOException where the file is there already or cannot be written
   */
  public static Written write(Path file, Map<String, String> metadata, List<Entry> entries)
      throws IOException {
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      return write(channel, metadata, entries);
    }
  }

  private static Written write(
      FileChannel channel, Map<String, String> metadata, List<Entry> entries) throws IOException {
    CRC32C checksum = new CRC32C();
    byte[] header = header(metadata, entries);
    ByteBuffer start =
        ByteBuffer.allocate(Long.BYTES + header.length).order(ByteOrder.LITTLE_ENDIAN);
    start.putLong(header.length).put(header).flip();
    write(channel, start, checksum);
    for (Entry entry : entries) {
      long count = entry.tensor().byteSize();
      for (long done = 0; done < count; done += CHUNK_BYTES) {
        int bytes = (int) Math.min(CHUNK_BYTES, count - done);
        write(channel, entry.tensor().byteBuffer(done, bytes), checksum);
      }
    }
    channel.force(true);
    return new Written(channel.position(), (int) checksum.getValue());
  }

  private static void write(FileChannel channel, ByteBuffer bytes, CRC32C checksum)
      throws IOException {
    checksum.update(bytes.duplicate());
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  private static byte[] header(Map<String, String> metadata, List<Entry> entries) {
    ObjectNode root = new ObjectMapper().createObjectNode();
    if (!metadata.isEmpty()) {
      ObjectNode texts = root.putObject("__metadata__");
      metadata.forEach(texts::put);
    }
    long offset = 0;
    for (Entry entry : entries) {
      ObjectNode node = root.putObject(entry.name());
      node.put("dtype", StoredType.of(entry.tensor().dtype()).name());
      var shape = node.putArray("shape");
      for (long size : entry.tensor().shape().toArray()) {
        shape.add(size);
      }
      long end = offset + entry.tensor().byteSize();
      node.putArray("data_offsets").add(offset).add(end);
      offset = end;
    }
    byte[] json = root.toString().getBytes(StandardCharsets.UTF_8);
    int padded = (json.length + HEADER_ALIGNMENT - 1) / HEADER_ALIGNMENT * HEADER_ALIGNMENT;
    byte[] header = Arrays.copyOf(json, padded);
    Arrays.fill(header, json.length, padded, (byte) ' '); // as the format's own library pads
    return header;
  }
}
