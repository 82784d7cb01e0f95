package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class SummedFirstMomentsTest {
  private static final double MOMENTUM = 0.9;
  private static final int SIZE = 301;
  private static final int WARM_UP = 3;
  private static final int STEPS = 8;

  /** With a codec that leaves nothing out they are Adam's, of the summed gradients. */
  @Test
  void theyAreAdamsFirstMomentsOfTheSums() throws Exception {
    int ranks = 3;
    List<float[]> last =
        Rank.runAll(
            ranks,
            rank -> {
              CompressedReduction reduction = firstMoments(rank, exact(rank));
              float[] result = {};
              for (int step = 1; step <= STEPS; step++) {
                result = rank.reduce(reduction, step, Gradients.normal(SIZE, rank.number(), step));
                if (step <= WARM_UP) {
                  assertClose(result, sums(ranks, step));
                }
              }
              return result;
            });
    double[] moments = new double[SIZE];
    for (int step = 1; step <= STEPS; step++) {
      double[] sums = sums(ranks, step);
      for (int i = 0; i < SIZE; i++) {
        moments[i] = MOMENTUM * moments[i] + (1 - MOMENTUM) * sums[i];
      }
    }
    for (float[] ofRank : last) {
      assertClose(ofRank, moments);
      assertThat(ofRank).isEqualTo(last.get(0));
    }
  }

  /** What the signs leave out of a first moment comes with the next ones. */
  @Test
  void compressedOnesAddUpToTheSame() throws Exception {
    int ranks = 2;
    int steps = 400;
    Rank.runAll(
        ranks,
        rank -> {
          CompressedReduction reduction =
              new Compression.OneBit(WARM_UP, MOMENTUM)
                  .reduction(rank.arena(), rank.communicator(), Gradients.shapes(SIZE));
          float[] gradients = new float[SIZE];
          Arrays.fill(gradients, 1 + rank.number());
          gradients[7] = -gradients[7] / 4; // far from the mean
          double[] applied = new double[SIZE];
          double weight = 0; // of a gradient that never changes, in its first moment
          double weights = 0;
          for (int step = 1; step <= steps; step++) {
            float[] moments = rank.reduce(reduction, step, gradients);
            weight = MOMENTUM * weight + (1 - MOMENTUM);
            weights += step > WARM_UP ? weight : 0;
            for (int i = 0; step > WARM_UP && i < SIZE; i++) {
              applied[i] += moments[i];
            }
          }
          for (int i = 0; i < SIZE; i++) {
            double sum = i == 7 ? -0.75 : 3; // of 1 and 2
            assertThat(applied[i] / weights).isCloseTo(sum, Offset.offset(0.02));
          }
          return rank;
        });
  }

  private static CompressedReduction firstMoments(Rank rank, CompressedReduction reduction) {
    return new SummedFirstMoments(
        rank.arena(),
        rank.communicator().size(),
        SIZE,
        new Compression.OneBit(WARM_UP, MOMENTUM),
        reduction);
  }

  private static CompressedReduction exact(Rank rank) {
    return new UncompressedReduction(rank.arena(), rank.communicator(), SIZE);
  }

  private static double[] sums(int ranks, int step) {
    double[] sums = new double[SIZE];
    for (int rank = 0; rank < ranks; rank++) {
      float[] gradients = Gradients.normal(SIZE, rank, step);
      for (int i = 0; i < SIZE; i++) {
        sums[i] += gradients[i];
      }
    }
    return sums;
  }

  private static void assertClose(float[] found, double[] expected) {
    for (int i = 0; i < SIZE; i++) {
      assertThat((double) found[i]).isCloseTo(expected[i], Offset.offset(1e-5));
    }
  }
}
