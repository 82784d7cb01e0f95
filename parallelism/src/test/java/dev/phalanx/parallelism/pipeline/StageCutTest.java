package dev.phalanx.parallelism.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

final class StageCutTest {
  @Test
  void equalPartsWhereThatIsPossible() {
    assertThat(StageCut.counts(8, 4, 0, 0)).containsExactly(2, 2, 2, 2);
    assertThat(StageCut.counts(5, 1, 0.1, 3)).containsExactly(5);
  }

  @Test
  void whatIsLeftOverGoesToTheLaterStagesThatHoldFewerMicroBatches() {
    assertThat(StageCut.counts(5, 3, 0, 0)).containsExactly(1, 2, 2);
    assertThat(StageCut.counts(5, 3, 0, 0.1)).containsExactly(2, 2, 1);
  }

  @Test
  void aLargeVocabularyTakesLayersFromTheLastStage() {
    assertThat(StageCut.counts(12, 4, 0, 2)).containsExactly(3, 3, 4, 2);
  }

  /** No stage could hand a layer on and make the largest smaller. */
  @Test
  void theLargestStageIsAsSmallAsCanBe() {
    for (int stages = 1; stages <= 6; stages++) {
      for (int layers = stages; layers <= 20; layers++) {
        for (double after : new double[] {0, 0.3, 1, 2.5, 7}) {
          int[] counts = StageCut.counts(layers, stages, 0.05, after);
          assertThat(Arrays.stream(counts).sum()).isEqualTo(layers);
          assertThat(Arrays.stream(counts).min().orElse(0)).isPositive();
          assertThat(largest(counts, after)).isEqualTo(best(layers, stages, after));
        }
      }
    }
  }

  private static double largest(int[] counts, double after) {
    double largest = 0;
    for (int stage = 0; stage < counts.length; stage++) {
      double work = counts[stage] + (stage == 0 ? 0.05 : 0);
      largest = Math.max(largest, work + (stage == counts.length - 1 ? after : 0));
    }
    return largest;
  }

  /** By trying all. */
  private static double best(int layers, int stages, double after) {
    return best(new int[stages], 0, layers, after);
  }

  private static double best(int[] counts, int stage, int left, double after) {
    if (stage == counts.length - 1) {
      counts[stage] = left;
      return largest(counts, after);
    }
    double best = Double.POSITIVE_INFINITY;
    for (int count = 1; count <= left - (counts.length - 1 - stage); count++) {
      counts[stage] = count;
      best = Math.min(best, best(counts, stage + 1, left - count, after));
    }
    return best;
  }

  @Test
  void moreStagesThanLayersAreRefused() {
    assertThatThrownBy(() -> StageCut.counts(3, 4, 0, 0))
        .isInstanceOf(ScheduleException.class)
        .hasMessageContaining("3 layers do not make 4 stages");
  }
}
