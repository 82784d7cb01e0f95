package dev.phalanx.launcher.process;

import java.time.Duration;

/**
 * How long the watching thread waits for what.
 *
 * @param blameGrace after a first sign of failure, for a sign that tells more
 * @param deathGrace after a rank reported a failure of its own, for the news that another process
 *     was killed before
 * @param lastWordsGrace after a process has died, for the others to tell how they ended
 * @param endGrace between asking processes to end and killing them
 * @param exitGrace after a first worker is done, for the others
 * @param stoppedGrace for a worker that somebody has stopped while others wait for it; longer than
 *     ranks that have met take to find that out
 */
public record Timing(
    Duration blameGrace,
    Duration deathGrace,
    Duration lastWordsGrace,
    Duration endGrace,
    Duration exitGrace,
    Duration stoppedGrace) {
  public static final Timing DEFAULT =
      new Timing(
          Duration.ofSeconds(1),
          Duration.ofMillis(250),
          Duration.ofSeconds(3),
          Duration.ofSeconds(2),
          Duration.ofMinutes(5),
          Duration.ofSeconds(10));
}
