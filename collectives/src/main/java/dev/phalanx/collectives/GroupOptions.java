package dev.phalanx.collectives;

import dev.phalanx.collectives.algorithm.Algorithm;
import java.time.Duration;

/**
 * What all groups of a job have in common.
 *
 * @param algorithm the family that operations use where they have one of it
 * @param timeout how long a rank may keep the others waiting
 */
public record GroupOptions(Algorithm algorithm, Duration timeout) {
  /** The best algorithm for each operation. */
  public static GroupOptions withTimeout(Duration timeout) {
    return new GroupOptions(Algorithm.AUTO, timeout);
  }
}
