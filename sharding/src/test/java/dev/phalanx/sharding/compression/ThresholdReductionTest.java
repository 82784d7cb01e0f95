package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class ThresholdReductionTest {
  private static final Compression HALF = new Compression.Threshold(0.5);

  @Test
  void elementsBeyondTheThresholdMoveByIt() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction = rank.reduction(HALF, 5);
          assertThat(rank.reduce(reduction, 1, 0.5f, 0.75f, -3, -0.25f, 0))
              .containsExactly(0, 0.5f, -0.5f, 0, 0);
          assertThat(Rank.read(Rank.state(reduction, "residual")))
              .containsExactly(0.5f, 0.25f, -2.5f, -0.25f, 0);
          assertThat(rank.reduce(reduction, 2, 0.25f, 0, 0, -0.5f, 0))
              .containsExactly(0.5f, 0, -0.5f, -0.5f, 0);
          return rank;
        });
  }

  /** 64 elements: up to four are a list, more are a map. */
  @Test
  void listsAndMapsOfDifferentRanksAddUp() throws Exception {
    int size = 64;
    int[] sent = {0, 4, 5, 64};
    float[] expected = new float[size];
    for (int count : sent) {
      for (int i = 0; i < count; i++) {
        expected[place(i)] += i % 2 == 0 ? 0.5f : -0.5f;
      }
    }
    Rank.runAll(
        sent.length,
        rank -> {
          CompressedReduction reduction = rank.reduction(HALF, size);
          float[] gradients = new float[size];
          for (int i = 0; i < sent[rank.number()]; i++) {
            gradients[place(i)] = i % 2 == 0 ? 0.6f : -0.6f;
          }
          assertThat(rank.reduce(reduction, 1, gradients)).isEqualTo(expected);
          // counts, and 0 + 4 + 4 + 4 words
          assertThat(reduction.statistics().sentBytes()).isEqualTo(3 * (4 * 4 + 12 * 4));
          return rank;
        });
  }

  /** Scattered, and each once. */
  private static int place(int i) {
    return i * 37 % 64;
  }

  @Test
  void aStepInWhichNothingIsSentIsZero() throws Exception {
    Rank.runAll(
        2,
        rank -> {
          CompressedReduction reduction = rank.reduction(HALF, 3);
          assertThat(rank.reduce(reduction, 1, 0.3f, -0.3f, 0)).containsOnly(0);
          assertThat(rank.reduce(reduction, 2, 0.3f, -0.3f, 0)).containsExactly(1, -1, 0);
          return rank;
        });
  }
}
