package dev.phalanx.tensor.conformance;

import static dev.phalanx.tensor.conformance.ReferenceKernels.add;
import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** LayerNorm and RMSNorm. */
public abstract class NormConformance extends KernelConformance {
  private static final double EPSILON = 1e-5;

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, FLOAT32, true",
    "FLOAT32, FLOAT32, false",
    "BFLOAT16, BFLOAT16, true",
    "BFLOAT16, BFLOAT16, false",
    "BFLOAT16, FLOAT32, true",
    "BFLOAT16, FLOAT32, false",
    "FLOAT16, FLOAT16, true",
    "FLOAT16, FLOAT16, false",
    "FLOAT16, FLOAT32, true",
    "FLOAT16, FLOAT32, false"
  })
  void bothNormsForwardAndBackward(DType dtype, DType gradients, boolean centered) {
    for (int[] sizes : new int[][] {{1, 3}, {3, 1}, {7, 17}, {33, 65}, {300, 256}, {65, 7}}) {
      for (boolean accumulate : new boolean[] {false, true}) {
        check(dtype, gradients, centered, sizes[0], sizes[1], accumulate);
      }
    }
  }

  private void check(
      DType dtype, DType gradients, boolean centered, int rows, int columns, boolean accumulate) {
    double[] x = normal(dtype, (long) rows * columns);
    double[] weight = normal(dtype, columns);
    double[] bias = centered ? normal(dtype, columns) : new double[columns];
    double[] dy = normal(dtype, (long) rows * columns);
    var expected = ReferenceKernels.norm(x, weight, bias, centered, EPSILON, rows);
    Tensor input = tensor(dtype, x, rows, columns);
    Tensor weights = tensor(dtype, weight, columns);
    Tensor out = output(dtype, rows, columns);
    Tensor mean = output(DType.FLOAT32, rows);
    Tensor rstd = output(DType.FLOAT32, rows);
    if (centered) {
      engine.layerNorm(input, weights, tensor(dtype, bias, columns), EPSILON, out, mean, rstd);
      // The mean cancels: it is as exact as the row's elements are large.
      assertClose(mean, expected.mean(), ReferenceKernels.map(expected.mean(), v -> 1), 1e-5);
    } else {
      engine.rmsNorm(input, weights, EPSILON, out, rstd);
    }
    assertClose(out, expected.out());
    assertClose(rstd, expected.rstd(), 1e-5);

    double[] dxBefore = normal(dtype, (long) rows * columns);
    double[] dWeightBefore = normal(gradients, columns);
    double[] dBiasBefore = normal(gradients, columns);
    Tensor dx = accumulate ? tensor(dtype, dxBefore, rows, columns) : output(dtype, rows, columns);
    Tensor dWeight =
        accumulate ? tensor(gradients, dWeightBefore, columns) : output(gradients, columns);
    Tensor dBias =
        accumulate ? tensor(gradients, dBiasBefore, columns) : output(gradients, columns);
    Tensor dOut = tensor(dtype, dy, rows, columns);
    if (centered) {
      engine.layerNormBackward(
          dOut, input, weights, mean, rstd, dx, accumulate, dWeight, dBias, accumulate);
    } else {
      engine.rmsNormBackward(dOut, input, weights, rstd, dx, accumulate, dWeight, accumulate);
    }
    var slopes = ReferenceKernels.normBackward(dy, x, weight, centered, EPSILON, rows);
    if (columns > 1) {
      // A single column's norm has no slope: what is left is rounding, times rstd.
      assertClose(dx, accumulate ? add(slopes.x(), dxBefore) : slopes.x(), 2 * tolerance(dtype));
    }
    if (columns > 1 || !centered) {
      // A single column is its own mean, so its gain has no gradient but rounding.
      assertClose(
          dWeight,
          accumulate ? add(slopes.weight(), dWeightBefore) : slopes.weight(),
          2 * tolerance(dtype));
    }
    if (centered) {
      assertClose(
          dBias, accumulate ? add(slopes.bias(), dBiasBefore) : slopes.bias(), tolerance(dtype));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void noRowsGiveZeroGradients(DType dtype) {
    assumeKernelsTake(dtype);
    Tensor x = arena.allocate(dtype, 0, 3);
    Tensor statistics = arena.allocate(DType.FLOAT32, 0);
    Tensor weight = arena.zeros(dtype, 3);
    Tensor dWeight = output(DType.FLOAT32, 3);
    Tensor dBias = output(DType.FLOAT32, 3);
    engine.layerNorm(x, weight, weight, EPSILON, x, statistics, statistics);
    engine.layerNormBackward(x, x, weight, statistics, statistics, x, false, dWeight, dBias, false);
    assertThat(values(dWeight)).containsOnly(0);
    assertThat(values(dBias)).containsOnly(0);
    dWeight = output(DType.FLOAT32, 3);
    engine.rmsNorm(x, weight, EPSILON, x, statistics);
    engine.rmsNormBackward(x, x, weight, statistics, x, false, dWeight, false);
    assertThat(values(dWeight)).containsOnly(0);
  }

  @Test
  void wrongShapesAreRefused() {
    Tensor x = arena.zeros(DType.FLOAT32, 2, 3);
    Tensor two = arena.zeros(DType.FLOAT32, 2);
    Tensor three = arena.zeros(DType.FLOAT32, 3);
    Tensor narrow = arena.zeros(DType.BFLOAT16, 2);
    assertRefused("layerNorm", () -> engine.layerNorm(x, two, three, EPSILON, x, two, two));
    assertRefused("layerNorm", () -> engine.layerNorm(x, three, three, EPSILON, x, three, two));
    assertRefused("layerNorm", () -> engine.layerNorm(x, three, three, EPSILON, x, narrow, two));
    assertRefused(
        "layerNormBackward",
        () -> engine.layerNormBackward(x, x, three, two, two, x, false, two, three, false));
    assertRefused("rmsNorm", () -> engine.rmsNorm(x, two, EPSILON, x, two));
    assertRefused(
        "rmsNormBackward",
        () -> engine.rmsNormBackward(x, x, three, three, x, false, three, false));
  }
}
