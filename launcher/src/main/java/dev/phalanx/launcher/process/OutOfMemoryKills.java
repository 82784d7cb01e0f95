package dev.phalanx.launcher.process;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * How many processes the kernel has killed for want of memory, as far as it tells: on the host and
 * in this group.
 */
final class OutOfMemoryKills {
  private static final List<Path> COUNTERS =
      List.of(
          Path.of("/proc/vmstat"),
          Path.of("/sys/fs/cgroup/memory.events"),
          Path.of("/sys/fs/cgroup/memory/memory.oom_control"));

  private OutOfMemoryKills() {}

  static long count() {
    return COUNTERS.stream().mapToLong(OutOfMemoryKills::countIn).sum();
  }

  private static long countIn(Path file) {
    if (!Files.isReadable(file)) {
      return 0;
    }
    try {
      for (String line : Files.readAllLines(file)) {
        if (line.startsWith("oom_kill ")) {
          return Long.parseLong(line.substring("oom_kill ".length()).trim());
        }
      }
      return 0;
    } catch (IOException | NumberFormatException e) {
      return 0;
    }
  }
}
