package dev.phalanx.checkpoint;

import dev.phalanx.checkpoint.safetensors.HostMemory;
import dev.phalanx.checkpoint.safetensors.SafetensorsFile;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter.Entry;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** A small model's state, and what is left of it in a folder. */
final class Checkpoints {
  private Checkpoints() {}

  static CheckpointManifest manifest(long step) {
    return new CheckpointManifest(
        step,
        step * 32,
        1000,
        1234,
        2,
        "adamw",
        Optional.of("bytes"),
        "model:\n  layers: 2 # zwölf\n",
        List.of());
  }

  static List<Entry> model(HostMemory memory, long seed) {
    return List.of(
        new Entry("wte", memory.random(seed, DType.FLOAT32, 7, 3)),
        new Entry("h.0.ln1.bias", memory.random(seed + 1, DType.FLOAT32, 3)));
  }

  static List<Entry> optimizer(HostMemory memory, long seed) {
    return List.of(
        new Entry("first_moments.wte", memory.random(seed + 2, DType.FLOAT32, 7, 3)),
        new Entry("first_moments.h.0.ln1.bias", memory.random(seed + 3, DType.FLOAT32, 3)));
  }

  /** The names in a folder in their order, also those that begin with a dot. */
  static List<String> names(Path folder) throws IOException {
    try (Stream<Path> paths = Files.list(folder)) {
      return paths.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  /** The bytes of a tensor in a file. */
  static byte[] bytes(HostMemory memory, SafetensorsFile file, String name) throws IOException {
    try (Tensor read = memory.blank(DType.FLOAT32, file.shape(name))) {
      file.read(name, read, memory.engine());
      return HostMemory.bytes(read);
    }
  }
}
