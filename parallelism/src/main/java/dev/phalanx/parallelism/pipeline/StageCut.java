package dev.phalanx.parallelism.pipeline;

import java.util.Arrays;

/**
 * Which layers go to which stage of a pipeline: consecutive ones, such that the stage with the most
 * work has as little as can be. What comes before the first layer and after the last one counts.
 */
public final class StageCut {
  private StageCut() {}

  /**
   * @param layers of equal work
   * @param stages at most as many as layers; each gets at least one
   * @param before the work before the first layer, in layers
   * @param after the work after the last layer, in layers
   * @return the layers of each stage. Where there is a choice the first stages get fewer: they hold
   *     the activations of more micro-batches
   * @throws ScheduleException where there are more stages than layers
   */
  public static int[] counts(int layers, int stages, double before, double after) {
    if (stages < 1 || stages > layers) {
      throw new ScheduleException(
          layers + " layers do not make " + stages + " stages of at least one each");
    }
    int[] counts = new int[stages];
    Arrays.fill(counts, 1);
    for (int left = layers - stages; left > 0; left--) {
      int least = stages - 1;
      for (int stage = stages - 1; stage >= 0; stage--) {
        if (work(counts, stage, before, after) < work(counts, least, before, after)) {
          least = stage;
        }
      }
      counts[least]++;
    }
    return counts;
  }

  private static double work(int[] counts, int stage, double before, double after) {
    return counts[stage] + (stage == 0 ? before : 0) + (stage == counts.length - 1 ? after : 0);
  }
}
