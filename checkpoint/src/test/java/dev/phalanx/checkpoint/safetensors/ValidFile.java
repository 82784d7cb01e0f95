package dev.phalanx.checkpoint.safetensors;

import dev.phalanx.checkpoint.safetensors.SafetensorsWriter.Entry;
import dev.phalanx.tensor.DType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.util.List;
import java.util.Map;

/** A small file with nothing wrong, for tests to spoil. */
final class ValidFile {
  private ValidFile() {}

  static List<Entry> entries(HostMemory memory) {
    return List.of(
        new Entry("wte.weight", memory.random(1, DType.FLOAT32, 10, 3)),
        new Entry("none", memory.random(2, DType.INT64, 0)),
        new Entry("b", memory.random(3, DType.BFLOAT16, 5)));
  }

  static byte[] bytes(List<Entry> entries) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    SafetensorsWriter.write(Channels.newChannel(bytes), Map.of("format", "phalanx"), entries);
    return bytes.toByteArray();
  }

  static byte[] bytes(HostMemory memory) throws IOException {
    return bytes(entries(memory));
  }

  /** Where the tensors' bytes begin. */
  static int headerEnd(byte[] file) {
    return (int) (Long.BYTES + ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong(0));
  }
}
