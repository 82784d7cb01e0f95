package dev.phalanx.collectives;

import dev.phalanx.collectives.status.RankStatus;
import dev.phalanx.collectives.transport.Call;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The last operations of a group on one rank, for the log when something goes wrong. The thread
 * that runs operations writes; any reads.
 */
final class FlightRecorder {
  static final int LENGTH = 64;

  private final @Nullable Call[] calls = new Call[LENGTH];
  private final long[] startNanos = new long[LENGTH];
  private final long[] endNanos = new long[LENGTH];
  private long begun;
  private boolean isRunning;
  private boolean hasFailed; // the last one; nothing comes after it
  private long changedNanos = System.nanoTime();

  synchronized void begin(Call call) {
    int place = (int) (begun++ % LENGTH);
    calls[place] = call;
    startNanos[place] = System.nanoTime();
    changedNanos = startNanos[place];
    isRunning = true;
  }

  synchronized void end() {
    int place = (int) ((begun - 1) % LENGTH);
    endNanos[place] = System.nanoTime();
    changedNanos = endNanos[place];
    isRunning = false;
  }

  /** The operation that runs, if any, has failed, and the group with it. */
  synchronized void fail() {
    if (isRunning) {
      end();
      hasFailed = true;
    }
  }

  /**
   * Where this rank is. A failed operation is the one that it is still in, and it waits for the
   * same rank: others follow who waits for whom to the one at fault, whoever gave up first.
   */
  synchronized RankStatus status(String group, int rank, int waitsFor) {
    return new RankStatus(
        group,
        rank,
        description(isRunning || hasFailed ? begun - 2 : begun - 1),
        current(),
        (isRunning || hasFailed) && waitsFor >= 0 ? Optional.of(waitsFor) : Optional.empty(),
        (System.nanoTime() - changedNanos) / 1_000_000);
  }

  private Optional<String> current() {
    if (hasFailed) {
      return description(begun - 1).map(call -> call + ", which failed,");
    }
    return isRunning ? description(begun - 1) : Optional.empty();
  }

  private Optional<String> description(long number) {
    Call call = number < 0 ? null : calls[(int) (number % LENGTH)];
    return Optional.ofNullable(call).map(Call::description);
  }

  /** One line for each operation, the oldest first. */
  synchronized List<String> lines() {
    List<String> lines = new ArrayList<>();
    long now = System.nanoTime();
    for (long number = Math.max(0, begun - LENGTH); number < begun; number++) {
      int place = (int) (number % LENGTH);
      Call call = calls[place];
      if (call == null) {
        continue;
      }
      boolean isOver = number < begun - 1 || !isRunning;
      long end = isOver ? endNanos[place] : now;
      lines.add(
          String.format(
              Locale.ROOT,
              "%s: began %.3f s ago, %s %.3f ms",
              call.description(),
              (now - startNanos[place]) / 1e9,
              ending(number),
              (end - startNanos[place]) / 1e6));
    }
    return lines;
  }

  private String ending(long number) {
    if (number < begun - 1) {
      return "took";
    }
    if (hasFailed) {
      return "failed after";
    }
    return isRunning ? "has been running for" : "took";
  }
}
