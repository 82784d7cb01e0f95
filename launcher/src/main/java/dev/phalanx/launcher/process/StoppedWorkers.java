package dev.phalanx.launcher.process;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Which workers somebody has stopped with SIGSTOP or a debugger. Ranks that have met hear by
 * themselves of one that gives no sign of life; before that nobody else would notice.
 *
 * <p>Looks are counted, not time: a terminal may stop the launcher together with its workers. One
 * thread.
 */
final class StoppedWorkers {
  static final Duration BETWEEN_LOOKS = Duration.ofSeconds(1);

  private final long enough;
  private final Map<WorkerProcess, Long> looks = new HashMap<>(); // in a row that found it stopped
  private long nextLookNanos = System.nanoTime();

  /**
   * @param grace for how long a worker may be stopped
   */
  StoppedWorkers(Duration grace) {
    this.enough = Math.max(1, grace.dividedBy(BETWEEN_LOOKS));
  }

  /** Those that have been stopped for too long, each told once. May be asked at any time. */
  List<WorkerProcess> look(Collection<WorkerProcess> workers) {
    List<WorkerProcess> found = new ArrayList<>();
    long now = System.nanoTime();
    if (now - nextLookNanos < 0) {
      return found;
    }
    nextLookNanos = now + BETWEEN_LOOKS.toNanos();
    for (WorkerProcess worker : workers) {
      if (!HostThreads.isStopped(worker.pid())) {
        looks.remove(worker);
      } else if (looks.merge(worker, 1L, Long::sum) == enough) {
        found.add(worker);
      }
    }
    return found;
  }
}
