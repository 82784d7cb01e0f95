package dev.phalanx.checkpoint.safetensors;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.zip.CRC32C;

/** Writes safetensors files. */
public final class SafetensorsWriter {
  private static final int CHUNK_BYTES = 8 << 20;
  private static final int HEADER_ALIGNMENT = 8;
  private static final String METADATA = "__metadata__";

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
   * @param crc32c of the whole file
   */
  public record Written(long bytes, int crc32c) {}

  /** How many bytes {@link #write} will write. */
  public static long size(Map<String, String> metadata, List<Entry> entries) {
    return Long.BYTES
        + (long) header(metadata, entries).length
        + entries.stream().mapToLong(entry -> entry.tensor().byteSize()).sum();
  }

  /**
   * Writes a new file and returns when the disk has it. The same tensors and texts give the same
   * bytes.
   *
   * @throws IOException where the file is there already or cannot be written
   * @throws IllegalArgumentException where a name comes twice, or a tensor is a view with gaps or
   *     not in host memory; no file was made
   */
  public static Written write(Path file, Map<String, String> metadata, List<Entry> entries)
      throws IOException {
    requireWritable(entries);
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      Written written = write(channel, metadata, entries);
      channel.force(true);
      return written;
    }
  }

  /**
   * Writes to a channel, which stays open; whether the bytes are on a disk then is its owner's
   * matter.
   *
   * @throws IllegalArgumentException as above; nothing was written
   */
  public static Written write(
      WritableByteChannel channel, Map<String, String> metadata, List<Entry> entries)
      throws IOException {
    requireWritable(entries);
    CRC32C checksum = new CRC32C();
    byte[] header = header(metadata, entries);
    ByteBuffer start =
        ByteBuffer.allocate(Long.BYTES + header.length).order(ByteOrder.LITTLE_ENDIAN);
    start.putLong(header.length).put(header).flip();
    long bytes = write(channel, start, checksum);
    for (Entry entry : entries) {
      long count = entry.tensor().byteSize();
      for (long done = 0; done < count; done += CHUNK_BYTES) {
        int part = (int) Math.min(CHUNK_BYTES, count - done);
        bytes += write(channel, entry.tensor().byteBuffer(done, part), checksum);
      }
    }
    return new Written(bytes, (int) checksum.getValue());
  }

  private static void requireWritable(List<Entry> entries) {
    Set<String> names = new HashSet<>();
    for (Entry entry : entries) {
      if (entry.name().equals(METADATA) || !names.add(entry.name())) {
        throw new IllegalArgumentException(
            "A safetensors file cannot have "
                + Names.label(entry.name())
                + " as the name of "
                + (entry.name().equals(METADATA) ? "a tensor" : "two tensors"));
      }
      if (!entry.tensor().isContiguous() || !entry.tensor().device().isCpu()) {
        throw new IllegalArgumentException(
            "Tensor "
                + Names.label(entry.name())
                + " must be contiguous and in host memory to be written: copy the "
                + entry.tensor()
                + " first");
      }
    }
  }

  private static int write(WritableByteChannel channel, ByteBuffer bytes, CRC32C checksum)
      throws IOException {
    int count = bytes.remaining();
    checksum.update(bytes.duplicate());
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
    return count;
  }

  private static byte[] header(Map<String, String> metadata, List<Entry> entries) {
    ObjectNode root = new ObjectMapper().createObjectNode();
    if (!metadata.isEmpty()) {
      ObjectNode texts = root.putObject(METADATA);
      new TreeMap<>(metadata).forEach(texts::put);
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
