package dev.phalanx.launcher.process;

import java.io.IOException;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Has the kernel wake a worker whose launcher dies. A worker ends when its standard input does,
 * which one that is stopped just then would not notice, and so stay behind.
 */
public final class Orphans {
  private static final List<String> WAKING = List.of("setpriv", "--pdeathsig", "CONT");
  private static final long PROBE_MILLIS = 1000;

  private Orphans() {}

  /**
   * The words before a worker's command; none where the host has no such program. The kernel looks
   * at the thread that starts the worker, which therefore lives as long as the launcher.
   */
  public static List<String> waking() {
    try {
      Process probe =
          new ProcessBuilder(Stream.concat(WAKING.stream(), Stream.of("true")).toList())
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start();
      boolean hasEnded = probe.waitFor(PROBE_MILLIS, TimeUnit.MILLISECONDS);
      probe.destroyForcibly();
      return hasEnded && probe.exitValue() == 0 ? WAKING : List.of();
    } catch (IOException e) {
      return List.of();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return List.of();
    }
  }
}
