package dev.phalanx.collectives;

import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.collectives.transport.Deadline;
import java.time.Duration;

/**
 * What all groups of a job have in common.
 *
 * @param algorithm the family that operations use where they have one of it
 * @param timeout how long a rank may keep the others waiting; more than nothing
 * @param streams TCP connections between two ranks of a group, which messages take in turn; of no
 *     effect on what goes another way
 */
public record GroupOptions(Algorithm algorithm, Duration timeout, int streams) {
  /** As many streams are enough for any network, and few enough for a process's open files. */
  public static final int MOST_STREAMS = 16;

  /**
   * @throws IllegalArgumentException where there are too many streams, or none, or no time
   */
  public GroupOptions {
    if (timeout.isZero() || timeout.isNegative()) {
      throw new IllegalArgumentException(
          "A rank may keep the others waiting for some time, not for "
              + Deadline.text(timeout)
              + "; give a timeout of more than 0");
    }
    if (streams < 1 || streams > MOST_STREAMS) {
      throw new IllegalArgumentException(
          "Two ranks have from 1 to " + MOST_STREAMS + " streams, not " + streams);
    }
  }

  /** The best algorithm for each operation, and one stream. */
  public static GroupOptions withTimeout(Duration timeout) {
    return new GroupOptions(Algorithm.AUTO, timeout, 1);
  }
}
