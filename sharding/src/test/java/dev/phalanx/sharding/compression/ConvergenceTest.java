package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Gradient descent on a sum of quadratic functions, one for each rank, whose minima lie apart: at
 * the minimum of the sum no rank's own gradient is zero.
 */
@Timeout(120)
final class ConvergenceTest {
  private static final int RANKS = 3;
  private static final int ROWS = 16;
  private static final int SIZE = ROWS * ROWS;
  private static final int STEPS = 600;
  private static final double RATE = 0.2;

  /**
   * A codec, how far apart the minima lie, and the distance from the minimum of the sum that is
   * reached; it is 16 at the start.
   */
  static Stream<Arguments> codecs() {
    return Stream.of(
        Arguments.of(new Compression.Float16(), 1, 0.01),
        Arguments.of(new Compression.Bfloat16(), 1, 0.05),
        Arguments.of(new Compression.Int8(64), 1, 0.001),
        Arguments.of(new Compression.TopK(0.1), 1, 0.2),
        // Masking forgets more of the momentum of elements that are sent often.
        Arguments.of(new Compression.TopK(0.1, 40, 0.5), 0, 0.001),
        // An element whose gradients stay beyond the threshold would never catch up with them.
        Arguments.of(new Compression.Threshold(2), 0.3, 0.2),
        Arguments.of(new Compression.Threshold(0.01, 0.05, 0.2), 1, 0.2),
        Arguments.of(new Compression.OneBit(20), 1, 0.2),
        Arguments.of(new Compression.PowerSgd(2, 10), 1, 0.001));
  }

  /** Curvatures are from 0.5 to 1. */
  private static double curvature(int element) {
    return 0.5 + 0.5 * (element % 7) / 6;
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void gradientDescentReachesTheMinimum(Compression compression, double apart, double reached)
      throws Exception {
    double[] minimum = new double[SIZE];
    for (int rank = 0; rank < RANKS; rank++) {
      float[] ofRank = Gradients.normal(SIZE, rank, 7);
      for (int i = 0; i < SIZE; i++) {
        minimum[i] += apart * ofRank[i] / RANKS;
      }
    }
    Rank.runAll(
        RANKS,
        rank -> {
          double distance = descend(rank, compression, apart, minimum);
          assertThat(distance).isLessThan(reached);
          return rank;
        });
  }

  private static double descend(Rank rank, Compression compression, double apart, double[] minimum)
      throws InterruptedException {
    CompressedReduction reduction = rank.reduction(compression, ROWS, ROWS);
    float[] ownMinimum = Gradients.normal(SIZE, rank.number(), 7);
    double[] position = new double[SIZE];
    for (int i = 0; i < SIZE; i++) {
      position[i] = minimum[i] + 1;
    }
    for (int step = 1; step <= STEPS; step++) {
      // It falls towards the end, without which codecs of coarse steps go around the minimum.
      double rate = RATE * Math.min(1, 2.0 * (STEPS - step) / STEPS);
      float[] gradients = new float[SIZE];
      for (int i = 0; i < SIZE; i++) {
        gradients[i] = (float) (curvature(i) * (position[i] - apart * ownMinimum[i]));
      }
      float[] sum = rank.reduce(reduction, step, gradients);
      for (int i = 0; i < SIZE; i++) {
        position[i] -= rate * sum[i] / RANKS;
      }
    }
    double squares = 0;
    for (int i = 0; i < SIZE; i++) {
      squares += Math.pow(position[i] - minimum[i], 2);
    }
    return Math.sqrt(squares);
  }
}
