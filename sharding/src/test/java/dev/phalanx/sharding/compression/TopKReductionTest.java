package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
final class TopKReductionTest {
  @Test
  void theLargestElementsAreSentAndTheOthersKept() throws Exception {
    Rank.runAll(
        2,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.TopK(0.4), 5);
          float[] gradients =
              rank.number() == 0 ? new float[] {1, -5, 3, 2, 4} : new float[] {9, 1, 0, 1, -8};
          assertThat(rank.reduce(reduction, 1, gradients)).containsExactly(9, -5, 0, 0, -4);
          assertThat(Rank.read(Rank.state(reduction, "residual")))
              .containsExactly(
                  rank.number() == 0 ? new float[] {1, 0, 3, 2, 0} : new float[] {0, 1, 0, 1, 0});
          assertThat(rank.reduce(reduction, 2, new float[5])).containsExactly(0, 1, 3, 3, 0);
          return rank;
        });
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4})
  void withADensityOfOneTheSumIsExact(int ranks) throws Exception {
    int size = 1500;
    float[] sum = new float[size];
    for (int rank = 0; rank < ranks; rank++) {
      float[] gradients = Gradients.normal(size, rank, 1);
      for (int i = 0; i < size; i++) {
        sum[i] += gradients[i];
      }
    }
    Rank.runAll(
        ranks,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.TopK(1), size);
          float[] gradients = Gradients.normal(size, rank.number(), 1);
          assertThat(rank.reduce(reduction, 1, gradients)).isEqualTo(sum);
          assertThat(reduction.statistics().errorNorm()).isZero();
          return rank;
        });
  }

  /** As in a warm-up: a quarter of the elements, with their places, from each of eight ranks. */
  @Test
  void noMoreIsSentThanWithoutCompression() throws Exception {
    int size = 512;
    Rank.runAll(
        8,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.TopK(0.01, 8, 0), size);
          float[] gradients = Gradients.normal(size, rank.number(), 1);
          float[] sum = rank.reduce(reduction, 1, gradients);
          float[] kept = Rank.read(Rank.state(reduction, "residual"));
          int sent = 0;
          for (int i = 0; i < size; i++) {
            assertThat(kept[i]).isIn(0f, gradients[i]);
            sent += kept[i] == 0 ? 1 : 0;
          }
          assertThat(sent).isEqualTo(size / 4);
          for (int i = 0; i < size; i++) {
            double expected = 0;
            for (int peer = 0; peer < 8; peer++) {
              float[] theirs = Gradients.normal(size, peer, 1);
              expected += isAmongLargest(theirs, i, size / 4) ? theirs[i] : 0;
            }
            assertThat((double) sum[i]).isCloseTo(expected, within(1e-5)); // sums of eight in fp32
          }
          CompressionStatistics statistics = reduction.statistics();
          assertThat(statistics.sentBytes()).isEqualTo(statistics.uncompressedBytes());
          for (int step = 2; step <= 8; step++) {
            rank.reduce(reduction, step, Gradients.normal(size, rank.number(), step));
          }
          statistics = reduction.statistics();
          assertThat(statistics.sentBytes()).isLessThan(statistics.uncompressedBytes());
          return rank;
        });
  }

  private static boolean isAmongLargest(float[] values, int place, int count) {
    int larger = 0;
    for (float value : values) {
      larger += Math.abs(value) > Math.abs(values[place]) ? 1 : 0;
    }
    return larger < count;
  }

  @Test
  void ofElementsOfOneSizeTheFirstAreSent() throws Exception {
    Rank.runAll(
        1,
        rank ->
            assertThat(
                    rank.reduce(
                        rank.reduction(new Compression.TopK(0.5), 6), 1, 2, -2, 3, 2, -2, 2))
                .containsExactly(2, -2, 3, 0, 0, 0));
  }

  @Test
  void momentumIsCorrectedAndMasked() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.TopK(0.5, 0, 0.5), 2);
          // u = 4, 2 and v = 4, 2: the first is sent and forgets its momentum.
          assertThat(rank.reduce(reduction, 1, 4, 2)).containsExactly(4, 0);
          assertThat(Rank.read(Rank.state(reduction, "momentum"))).containsExactly(0, 2);
          // u = 1, 0.5 * 2 + 2 = 3 and v = 1, 2 + 3 = 5.
          assertThat(rank.reduce(reduction, 2, 1, 2)).containsExactly(0, 5);
          assertThat(Rank.read(Rank.state(reduction, "momentum"))).containsExactly(1, 0);
          assertThat(Rank.read(Rank.state(reduction, "residual"))).containsExactly(1, 0);
          return rank;
        });
  }

  @Test
  void theDensityFallsInTheWarmUp() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.TopK(0.01, 8, 0), 1024);
          int[] expected = {256, 256, 64, 64, 16, 16, 10, 10, 10, 10};
          for (int step = 1; step <= expected.length; step++) {
            float[] sum = rank.reduce(reduction, step, Gradients.normal(1024, 0, step));
            int sent = 0;
            for (float value : sum) {
              sent += value == 0 ? 0 : 1;
            }
            assertThat(sent).as("step %d", step).isEqualTo(expected[step - 1]);
          }
          return rank;
        });
  }
}
