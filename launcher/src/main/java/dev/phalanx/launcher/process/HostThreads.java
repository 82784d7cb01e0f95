package dev.phalanx.launcher.process;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * What a process does that does not answer, as far as a Linux host tells. Elsewhere it is silent.
 */
final class HostThreads {
  private HostThreads() {}

  /** Whether somebody has stopped it, with SIGSTOP or a debugger. */
  static boolean isStopped(long pid) {
    String state = state(read(Path.of("/proc", Long.toString(pid), "stat")));
    return state.equalsIgnoreCase("T");
  }

  /** A line for each thread: its name, its state, and what it waits for in the kernel. */
  static List<String> lines(long pid) {
    List<String> lines = new ArrayList<>();
    Path tasks = Path.of("/proc", Long.toString(pid), "task");
    try (Stream<Path> threads = Files.list(tasks)) {
      for (Path thread : threads.sorted().toList()) {
        lines.add(
            "thread "
                + thread.getFileName()
                + " "
                + read(thread.resolve("comm"))
                + ": "
                + state(read(thread.resolve("stat")))
                + " "
                + read(thread.resolve("wchan")));
      }
    } catch (IOException | RuntimeException e) {
      // It is gone, or the host keeps no such files.
    }
    return lines;
  }

  /** The letter after the name, which is in parentheses. */
  private static String state(String stat) {
    int end = stat.lastIndexOf(')');
    return end > 0 && end + 3 <= stat.length() ? stat.substring(end + 2, end + 3) : "?";
  }

  private static String read(Path file) {
    try {
      return Files.readString(file).trim();
    } catch (IOException e) {
      return "?";
    }
  }

  /** Has a JVM write all its stacks, native waits among them, to its standard error. */
  static void askForDump(long pid) {
    try {
      new ProcessBuilder("kill", "-QUIT", Long.toString(pid))
          .redirectErrorStream(true)
          .redirectOutput(ProcessBuilder.Redirect.DISCARD)
          .start();
    } catch (IOException e) {
      // A host without this command says less.
    }
  }
}
