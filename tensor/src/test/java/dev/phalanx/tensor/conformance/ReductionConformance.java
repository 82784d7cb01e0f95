package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** {@code sum}, {@code sumRows}, {@code squaredNorm} and {@code allFinite}. */
public abstract class ReductionConformance extends KernelConformance {
  @ParameterizedTest
  @CsvSource({
    "FLOAT32, FLOAT32",
    "FLOAT32, FLOAT64",
    "BFLOAT16, FLOAT32",
    "BFLOAT16, FLOAT64",
    "FLOAT16, FLOAT32",
    "FLOAT16, FLOAT64"
  })
  void sumAndSquaredNorm(DType dtype, DType result) {
    for (long size : new long[] {0, 1, 3, 7, 17, 33, 65, 1025, 100_003}) {
      double[] x = normal(dtype, size);
      Tensor tensor = tensor(dtype, x, size);
      Tensor sum = output(result, 1);
      engine.sum(tensor, sum);
      double magnitude = Arrays.stream(x).map(Math::abs).sum();
      assertThat(values(sum)[0]).isCloseTo(Arrays.stream(x).sum(), within(1e-6 * magnitude));

      Tensor norm = output(result);
      engine.squaredNorm(tensor, norm);
      double expected = Arrays.stream(x).map(v -> v * v).sum();
      assertThat(values(norm)[0]).isCloseTo(expected, within(1e-6 * expected));
    }
  }

  @Test
  void integersAreSummedToo() {
    Tensor sum = output(DType.FLOAT64, 1);
    engine.sum(tensor(DType.UINT8, new double[] {255, 255, 3}, 3), sum);
    assertThat(values(sum)).containsExactly(513);
    engine.sum(ids(1L << 40, 2, 3), sum);
    assertThat(values(sum)).containsExactly((1L << 40) + 5);
  }

  /** The promise that clipping and its parity between layouts rest on, at 10^8 elements. */
  @ParameterizedTest
  @CsvSource({"FLOAT32, 0.1", "FLOAT32, 1.7e-3", "BFLOAT16, 0.3", "FLOAT16, 0.3"})
  void squaredNormStaysExactForManyElements(DType dtype, double value) {
    assumeKernelsTake(dtype);
    long count = 100_000_000;
    Tensor x = arena.allocate(dtype, count);
    engine.fill(x, value);
    double element = Numbers.rounded(dtype, value);
    Tensor result = output(DType.FLOAT64, 1);
    engine.squaredNorm(x, result);
    double expected = count * element * element;
    assertThat(values(result)[0]).isCloseTo(expected, within(1e-6 * expected));
    engine.sum(x, result);
    assertThat(values(result)[0]).isCloseTo(count * element, within(1e-6 * count * element));
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, FLOAT32",
    "BFLOAT16, BFLOAT16",
    "BFLOAT16, FLOAT32",
    "FLOAT16, FLOAT16",
    "FLOAT16, FLOAT32"
  })
  void sumRowsReplacesOrAdds(DType dtype, DType result) {
    for (long rows : new long[] {1, 3, 17, 65, 1000}) {
      for (long columns : ODD_SIZES) {
        checkSumRows(dtype, result, rows, columns);
      }
    }
    checkSumRows(dtype, result, 1024, 256); // a library may have made a kernel of such sizes
  }

  private void checkSumRows(DType dtype, DType result, long rows, long columns) {
    double[] x = normal(dtype, rows * columns);
    double[] before = normal(result, columns);
    double[] sums = ReferenceKernels.sumRows(x, (int) rows, (int) columns);
    double[] sizes =
        ReferenceKernels.sumRows(ReferenceKernels.absolute(x), (int) rows, (int) columns);
    Tensor tensor = tensor(dtype, x, rows, columns);
    Tensor out = output(result, columns);
    engine.sumRows(tensor, out, false);
    assertClose(out, sums, sizes);
    out = tensor(result, before, columns);
    engine.sumRows(tensor, out, true);
    assertClose(out, ReferenceKernels.add(sums, before), sizes);
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void noRowsSumToZero(DType dtype) {
    Tensor out = output(dtype, 3);
    engine.sumRows(arena.allocate(dtype, 0, 3), out, false);
    assertThat(values(out)).containsOnly(0);
    engine.sumRows(arena.allocate(dtype, 4, 0), arena.allocate(dtype, 0), true);
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void allFiniteFindsOneBadElementAnywhere(DType dtype) {
    assumeKernelsTake(dtype);
    assertThat(engine.allFinite(arena.allocate(dtype, 0))).isTrue();
    double large = dtype == DType.FLOAT16 ? 65504 : 3.0e38;
    for (double bad :
        new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
      for (int size : new int[] {1, 7, 65, 1000}) {
        double[] x = normal(dtype, size);
        x[0] = large;
        x[size / 2] = large;
        assertThat(engine.allFinite(tensor(dtype, x, size))).isTrue();
        for (int place : new int[] {0, size / 2, size - 1}) {
          double[] spoiled = x.clone();
          spoiled[place] = bad;
          assertThat(engine.allFinite(tensor(dtype, spoiled, size))).isFalse();
        }
      }
    }
  }

  @Test
  void wrongShapesAreRefused() {
    Tensor x = arena.zeros(DType.FLOAT32, 2, 3);
    assertRefused("sum", () -> engine.sum(x, arena.zeros(DType.FLOAT32, 2)));
    assertRefused("sum", () -> engine.sum(x, arena.zeros(DType.BFLOAT16, 1)));
    assertRefused("squaredNorm", () -> engine.squaredNorm(x, arena.zeros(DType.INT64, 1)));
    assertRefused("sumRows", () -> engine.sumRows(x, arena.zeros(DType.FLOAT32, 2), false));
  }
}
