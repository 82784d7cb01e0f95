package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.tensor.Shape;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(60)
final class PowerSgdReductionTest {
  /** A matrix that is a sum of {@code terms} products of vectors, in fp32. */
  private static float[] lowRank(int rows, int columns, int terms, int seed) {
    float[] left = Gradients.normal(rows * terms, 2 * seed, 1);
    float[] right = Gradients.normal(columns * terms, 2 * seed + 1, 1);
    float[] matrix = new float[rows * columns];
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < columns; j++) {
        for (int term = 0; term < terms; term++) {
          matrix[i * columns + j] += left[i * terms + term] * right[term * columns + j];
        }
      }
    }
    return matrix;
  }

  @Test
  void aSumOfLowRankIsExactAfterAStep() throws Exception {
    int ranks = 3;
    float[] sum = new float[40 * 30];
    for (int rank = 0; rank < ranks; rank++) {
      float[] gradients = lowRank(40, 30, 1, rank);
      for (int i = 0; i < sum.length; i++) {
        sum[i] += gradients[i];
      }
    }
    Rank.runAll(
        ranks,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.PowerSgd(3, 0), 40, 30);
          float[] gradients = lowRank(40, 30, 1, rank.number());
          assertThat(rank.reduce(reduction, 1, gradients)).containsExactly(sum, within(1e-4f));
          return rank;
        });
  }

  /** One power iteration a step: the factors turn to the largest singular vectors. */
  @Test
  void theWarmStartImprovesTheApproximation() throws Exception {
    int size = 40 * 30;
    float[] large = lowRank(40, 30, 2, 7);
    float[] noise = Gradients.normal(size, 9, 1);
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.PowerSgd(2, 0), 40, 30);
          double first = 0;
          double last = 0;
          for (int step = 1; step <= 10; step++) {
            rank.arena().engine().fill(Rank.state(reduction, "residual"), 0);
            float[] gradients = new float[size];
            for (int i = 0; i < size; i++) {
              gradients[i] = large[i] + 0.3f * noise[i];
            }
            rank.reduce(reduction, step, gradients);
            last = reduction.statistics().errorNorm();
            first = step == 1 ? last : first;
          }
          assertThat(last).isLessThan(0.95 * first).isLessThan(0.3 * Math.sqrt(size));
          return rank;
        });
  }

  @Test
  void vectorsAndSmallMatricesAreExact() throws Exception {
    // 3 x 4 with two ranks of factors is no smaller; the others lie around compressed ones.
    List<Shape> shapes =
        List.of(Shape.of(5), Shape.of(3, 4), Shape.of(20, 2, 10), Shape.of(7), Shape.of(30, 30));
    int compressedFrom = 17;
    int exactFrom = compressedFrom + 400;
    int size = exactFrom + 7 + 900;
    Rank.runAll(
        2,
        rank -> {
          CompressedReduction reduction =
              new Compression.PowerSgd(2, 0).reduction(rank.arena(), rank.communicator(), shapes);
          float[] sum = rank.reduce(reduction, 1, Gradients.normal(size, rank.number(), 1));
          float[] one = Gradients.normal(size, 0, 1);
          float[] other = Gradients.normal(size, 1, 1);
          for (int i = 0; i < size; i++) {
            if (i < compressedFrom || (i >= exactFrom && i < exactFrom + 7)) {
              assertThat(sum[i]).as("element %d", i).isEqualTo(one[i] + other[i]);
            }
          }
          assertThat(sum[compressedFrom]).isNotEqualTo(one[compressedFrom] + other[compressedFrom]);
          long floats = 17 + 7 + 2 * (20 + 20) + 2 * (30 + 30);
          assertThat(reduction.statistics().sentBytes()).isEqualTo(4 * floats);
          return rank;
        });
  }

  @Test
  void aStepOfZerosDoesNotEndTheIteration() throws Exception {
    Rank.runAll(
        2,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.PowerSgd(2, 0), 20, 20);
          assertThat(rank.reduce(reduction, 1, new float[400])).containsOnly(0);
          float[] gradients = lowRank(20, 20, 2, 3);
          float[] sum = new float[400];
          for (int step = 2; step <= 4; step++) {
            float[] applied = rank.reduce(reduction, step, gradients);
            for (int i = 0; i < sum.length; i++) {
              sum[i] += applied[i];
            }
          }
          for (int i = 0; i < sum.length; i++) {
            assertThat(sum[i]).isCloseTo(6 * gradients[i], within(1e-3f));
          }
          return rank;
        });
  }

  /**
   * Vogels et al., 2019, "PowerSGD", table 3: 21 matrices, and what belongs to norms and biases.
   */
  @ParameterizedTest
  @CsvSource({"1, 243.26", "2, 135.84", "4, 72.13"})
  void aResNetIsCompressedAsInThePaper(int rankOfFactors, double ratio) throws Exception {
    List<Shape> shapes = new ArrayList<>();
    shapes.add(Shape.of(64, 3, 3, 3));
    for (long width : new long[] {64, 128, 256, 512}) {
      long before = width == 64 ? 64 : width / 2;
      shapes.add(Shape.of(width, before, 3, 3));
      shapes.addAll(Collections.nCopies(3, Shape.of(width, width, 3, 3)));
      if (width > 64) {
        shapes.add(Shape.of(width, before, 1, 1)); // beside the first block of these
      }
    }
    shapes.add(Shape.of(10, 512));
    assertThat(shapes).hasSize(21);
    shapes.add(Shape.of(10));
    shapes.add(Shape.of(2 * (64 * 5 + (128 + 256 + 512) * 5))); // weights and biases of norms
    int elements = Math.toIntExact(shapes.stream().mapToLong(Shape::elementCount).sum());
    Rank.runAll(
        2,
        rank -> {
          CompressedReduction reduction =
              new Compression.PowerSgd(rankOfFactors, 0)
                  .reduction(rank.arena(), rank.communicator(), shapes);
          rank.reduce(reduction, 1, new float[elements]);
          assertThat(reduction.statistics().ratio()).isCloseTo(ratio, within(0.005));
          return rank;
        });
  }
}
