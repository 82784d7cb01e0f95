package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

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
          // counts and thresholds, and 0 + 4 + 4 + 4 words, by four ranks
          assertThat(reduction.statistics().sentBytes()).isEqualTo(3 * (4 * 8 + 12 * 4) / 4);
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

  // ------------------------------------------------------------------------ adaptive thresholds

  /** What every rank does and gets, without messages. */
  private static final class Reference {
    private final Compression.Threshold settings;
    private final float[][] residuals; // [ranks, elements]
    private final float[] thresholds; // [ranks]
    private long sentBytes; // of all ranks

    Reference(Compression.Threshold settings, int ranks, int size) {
      this.settings = settings;
      this.residuals = new float[ranks][size];
      this.thresholds = new float[ranks];
      Arrays.fill(thresholds, (float) settings.threshold());
    }

    float[] reduce(long step) {
      int size = residuals[0].length;
      int ranks = residuals.length;
      float[] sums = new float[size];
      for (int rank = 0; rank < ranks; rank++) {
        float[] residual = residuals[rank];
        float threshold = thresholds[rank];
        float[] gradients = gradients(size, rank, step);
        int count = 0;
        for (int i = 0; i < size; i++) {
          residual[i] += gradients[i];
          if (Math.abs(residual[i]) > threshold) {
            float sent = Math.copySign(threshold, residual[i]);
            residual[i] -= sent;
            sums[i] += sent;
            count++;
          }
        }
        sentBytes += (ranks - 1) * 4L * (2 + Math.min(count, (size + 15) / 16));
        thresholds[rank] =
            new AdaptiveThreshold(settings.minimumDensity(), settings.maximumDensity())
                .next(threshold, (double) count / size);
      }
      return sums;
    }
  }

  /** Each rank's are twice as large as those of the one before it. */
  private static float[] gradients(int size, int rank, long step) {
    float[] gradients = Gradients.normal(size, rank, step);
    for (int i = 0; i < size; i++) {
      gradients[i] *= 1 << rank;
    }
    return gradients;
  }

  static Stream<Arguments> rangesAndRanks() {
    List<Arguments> all = new ArrayList<>();
    for (Compression range :
        List.of(
            new Compression.Threshold(1, 1e-4, 1e-2), // lists, of nothing too
            new Compression.Threshold(0.1, 0.01, 0.05), // maps at first
            new Compression.Threshold(3, 0.05, 0.08), // now these and now those
            new Compression.Threshold(40, 0.2, 0.2), // lists at first
            new Compression.Threshold(1e-30, 0.5, 0.9))) {
      for (int ranks = 1; ranks <= 4; ranks++) {
        all.add(Arguments.of(range, ranks));
      }
    }
    return all.stream();
  }

  @ParameterizedTest
  @MethodSource("rangesAndRanks")
  void eachRankSendsByAThresholdOfItsOwn(Compression.Threshold range, int ranks) throws Exception {
    for (int size : new int[] {1, 16, 17, 100, 1025}) {
      Rank.runAll(
          ranks,
          rank -> {
            CompressedReduction reduction = rank.reduction(range, size);
            Reference reference = new Reference(range, ranks, size);
            for (int step = 1; step <= 40; step++) {
              assertThat(rank.reduce(reduction, step, gradients(size, rank.number(), step)))
                  .as("%d elements, step %d", size, step)
                  .isEqualTo(reference.reduce(step));
              assertThat(Rank.read(Rank.state(reduction, "threshold")))
                  .containsExactly(reference.thresholds[rank.number()]);
            }
            assertThat(Rank.read(Rank.state(reduction, "residual")))
                .isEqualTo(reference.residuals[rank.number()]);
            assertThat(reduction.statistics().sentBytes()).isEqualTo(reference.sentBytes / ranks);
            return rank;
          });
    }
  }

  /** From far below, the threshold doubles; from far above, it falls by half in twenty steps. */
  @ParameterizedTest(name = "from {0} in {1} steps")
  @CsvSource({"1e-6, 40", "1e-3, 25", "1, 15", "10, 20", "1000, 160"})
  void theDensityComesIntoItsRange(double threshold, int most) throws Exception {
    double minimum = 0.01;
    double maximum = 0.1;
    int size = 4096;
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction =
              rank.reduction(new Compression.Threshold(threshold, minimum, maximum), size);
          List<Double> densities = new ArrayList<>();
          for (int step = 1; step <= most + 100; step++) {
            float[] sums = rank.reduce(reduction, step, Gradients.normal(size, 0, step));
            int sent = 0;
            for (float sum : sums) {
              sent += sum == 0 ? 0 : 1;
            }
            densities.add((double) sent / size);
          }
          assertThat(densities.subList(most, most + 100))
              .allMatch(density -> density >= 0.8 * minimum && density <= 1.05 * maximum);
          return rank;
        });
  }

  /** Gradients that were ten times larger have left no more behind than a threshold. */
  @Test
  void residualsDoNotRunAwayFromLargeGradients() throws Exception {
    int size = 4096;
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction =
              rank.reduction(new Compression.Threshold(1, 0.01, 0.1), size);
          for (int step = 1; step <= 300; step++) {
            float[] gradients = Gradients.normal(size, 0, step);
            for (int i = 0; i < size; i++) {
              gradients[i] *= step <= 20 ? 10 : 1;
            }
            rank.reduce(reduction, step, gradients);
          }
          float threshold = Rank.read(Rank.state(reduction, "threshold"))[0];
          for (float left : Rank.read(Rank.state(reduction, "residual"))) {
            assertThat(Math.abs(left)).isLessThan(2 * threshold);
          }
          return rank;
        });
  }

  @Test
  void gradientsThatVanishAndComeBackAreSent() throws Exception {
    Rank.runAll(
        2,
        rank -> {
          CompressedReduction reduction =
              rank.reduction(new Compression.Threshold(1, 0.01, 0.02), 4);
          for (int step = 1; step <= 4000; step++) {
            assertThat(rank.reduce(reduction, step, 0, 0, 0, 0)).containsOnly(0);
          }
          assertThat(Rank.read(Rank.state(reduction, "threshold")))
              .containsExactly(Float.MIN_NORMAL);
          double applied = 0;
          for (int step = 4001; step <= 4600; step++) {
            applied += rank.reduce(reduction, step, 1, -1, 1, -1)[0];
          }
          assertThat(applied / (2 * 600)).isBetween(0.5, 1.0);
          return rank;
        });
  }

  @ParameterizedTest
  @ValueSource(floats = {0, -1, Float.NaN, Float.POSITIVE_INFINITY})
  void aStateThatHoldsNoThresholdBeginsWithTheFirstOne(float found) throws Exception {
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction =
              rank.reduction(new Compression.Threshold(0.5, 0.25, 0.5), 4);
          new HostMemory(Rank.state(reduction, "threshold")).putFloat(0, found);
          assertThat(rank.reduce(reduction, 1, 1, 0, 0, 0)).containsExactly(0.5f, 0, 0, 0);
          return rank;
        });
  }

  /** So that older checkpoints, which hold residuals alone, still fit. */
  @Test
  void theStateOfAFixedThresholdIsItsResidual() throws Exception {
    Rank.runAll(
        1,
        rank -> {
          assertThat(rank.reduction(HALF, 4).state()).containsOnlyKeys("residual");
          assertThat(rank.reduction(new Compression.Threshold(1, 0.1, 0.1), 4).state().keySet())
              .containsExactly("residual", "threshold");
          return rank;
        });
    assertThat(HALF).hasToString("Threshold[threshold=0.5]"); // in checkpoints of networks
    assertThat(new Compression.Threshold(0.5, 0.1, 0.2))
        .hasToString("Threshold[threshold=0.5, minimumDensity=0.1, maximumDensity=0.2]");
  }
}
