package dev.phalanx.tensor.conformance;

import static dev.phalanx.tensor.conformance.ReferenceKernels.absolute;
import static dev.phalanx.tensor.conformance.ReferenceKernels.add;
import static dev.phalanx.tensor.conformance.ReferenceKernels.map;
import static dev.phalanx.tensor.conformance.ReferenceKernels.transpose;
import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** {@code matmul}, {@code batchedMatmul} and {@code linear}. */
public abstract class MatrixProductConformance extends KernelConformance {
  @ParameterizedTest
  @CsvSource({
    "FLOAT32, FLOAT32",
    "BFLOAT16, BFLOAT16",
    "BFLOAT16, FLOAT32",
    "FLOAT16, FLOAT16",
    "FLOAT16, FLOAT32"
  })
  void matmulTransposesScalesAndAccumulates(DType factors, DType result) {
    for (int[] sizes : someSizes()) {
      for (int flags = 0; flags < 8; flags++) {
        boolean transposeA = (flags & 1) != 0;
        boolean transposeB = (flags & 2) != 0;
        boolean accumulate = (flags & 4) != 0;
        double alpha = flags % 3 == 0 ? 1 : 0.5;
        checkMatmul(factors, result, sizes, transposeA, transposeB, alpha, accumulate);
      }
    }
  }

  private void checkMatmul(
      DType factors,
      DType result,
      int[] sizes,
      boolean transposeA,
      boolean transposeB,
      double alpha,
      boolean accumulate) {
    int m = sizes[0];
    int k = sizes[1];
    int n = sizes[2];
    double[] a = normal(factors, (long) m * k);
    double[] b = normal(factors, (long) k * n);
    double[] before = normal(result, (long) m * n);
    Tensor left = transposeA ? tensor(factors, transpose(a, m, k), k, m) : tensor(factors, a, m, k);
    Tensor right =
        transposeB ? tensor(factors, transpose(b, k, n), n, k) : tensor(factors, b, k, n);
    Tensor out = accumulate ? tensor(result, before, m, n) : output(result, m, n);

    engine.matmul(left, transposeA, right, transposeB, out, alpha, accumulate);

    double[] product = map(ReferenceKernels.matmul(a, b, m, k, n), v -> alpha * v);
    double[] magnitude = ReferenceKernels.matmul(absolute(a), absolute(b), m, k, n);
    // A product of BFLOAT16 factors may be rounded to BFLOAT16 on its way to FLOAT32.
    assertClose(
        out,
        accumulate ? add(product, before) : product,
        accumulate ? add(magnitude, absolute(before)) : magnitude,
        tolerance(factors));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void batchedMatmulIsMatmulOfEachEntry(DType dtype) {
    for (int batch : new int[] {1, 3}) {
      for (int[] sizes : new int[][] {{1, 1, 1}, {7, 17, 3}, {33, 65, 17}, {64, 128, 64}}) {
        for (int flags = 0; flags < 8; flags++) {
          checkBatched(dtype, batch, sizes, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0);
        }
      }
    }
  }

  private void checkBatched(
      DType dtype,
      int batch,
      int[] sizes,
      boolean transposeA,
      boolean transposeB,
      boolean accumulate) {
    int m = sizes[0];
    int k = sizes[1];
    int n = sizes[2];
    double alpha = accumulate ? 0.5 : 1;
    double[] left = new double[batch * m * k];
    double[] right = new double[batch * k * n];
    double[] before = normal(dtype, (long) batch * m * n);
    double[] expected = accumulate ? before.clone() : new double[batch * m * n];
    double[] magnitude = absolute(expected);
    for (int entry = 0; entry < batch; entry++) {
      double[] a = normal(dtype, (long) m * k);
      double[] b = normal(dtype, (long) k * n);
      System.arraycopy(transposeA ? transpose(a, m, k) : a, 0, left, entry * m * k, m * k);
      System.arraycopy(transposeB ? transpose(b, k, n) : b, 0, right, entry * k * n, k * n);
      double[] product = ReferenceKernels.matmul(a, b, m, k, n);
      double[] size = ReferenceKernels.matmul(absolute(a), absolute(b), m, k, n);
      for (int i = 0; i < m * n; i++) {
        expected[entry * m * n + i] += alpha * product[i];
        magnitude[entry * m * n + i] += alpha * size[i];
      }
    }
    Tensor a = transposeA ? tensor(dtype, left, batch, k, m) : tensor(dtype, left, batch, m, k);
    Tensor b = transposeB ? tensor(dtype, right, batch, n, k) : tensor(dtype, right, batch, k, n);
    Tensor out = accumulate ? tensor(dtype, before, batch, m, n) : output(dtype, batch, m, n);

    engine.batchedMatmul(a, transposeA, b, transposeB, out, alpha, accumulate);

    assertClose(out, expected, magnitude);
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, false, none",
    "FLOAT32, true, none",
    "FLOAT32, false, other",
    "FLOAT32, true, other",
    "FLOAT32, false, same",
    "FLOAT32, true, same",
    "FLOAT32, true, apart",
    "BFLOAT16, false, none",
    "BFLOAT16, true, none",
    "BFLOAT16, false, other",
    "BFLOAT16, true, other",
    "BFLOAT16, false, same",
    "BFLOAT16, true, same",
    "BFLOAT16, true, apart",
    "FLOAT16, false, none",
    "FLOAT16, true, none",
    "FLOAT16, false, other",
    "FLOAT16, true, other",
    "FLOAT16, false, same",
    "FLOAT16, true, same",
    "FLOAT16, true, apart"
  })
  void linearAddsBiasAndResidual(DType dtype, boolean hasBias, String residual) {
    for (int[] sizes : someSizes()) {
      int n = sizes[0];
      int in = sizes[1];
      int width = sizes[2];
      double[] x = normal(dtype, (long) n * in);
      double[] weight = normal(dtype, (long) in * width);
      double[] bias = normal(dtype, width);
      double[] rest = normal(dtype, (long) n * width);
      double[] expected = ReferenceKernels.matmul(x, transpose(weight, width, in), n, in, width);
      double[] magnitude =
          ReferenceKernels.matmul(
              absolute(x), absolute(transpose(weight, width, in)), n, in, width);
      for (int i = 0; i < n * width; i++) {
        double added = (hasBias ? bias[i % width] : 0) + (residual.equals("none") ? 0 : rest[i]);
        expected[i] += added;
        magnitude[i] +=
            (hasBias ? Math.abs(bias[i % width]) : 0)
                + (residual.equals("none") ? 0 : Math.abs(rest[i]));
      }
      Tensor out =
          switch (residual) {
            case "same" -> tensor(dtype, rest, n, width);
            case "apart" -> strided(dtype, rest, n, width); // and so are its rows
            default -> output(dtype, n, width);
          };

      engine.linear(
          tensor(dtype, x, n, in),
          tensor(dtype, weight, width, in),
          hasBias ? tensor(dtype, bias, width) : null,
          switch (residual) {
            case "same", "apart" -> out;
            case "other" -> tensor(dtype, rest, n, width);
            default -> null;
          },
          out);

      assertClose(out, expected, magnitude);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void emptyFactorsGiveZerosAndEmptyResultsNothing(DType dtype) {
    Tensor out = output(dtype, 2, 3);
    engine.matmul(
        arena.allocate(dtype, 2, 0), false, arena.allocate(dtype, 0, 3), false, out, 1, false);
    assertThat(values(out)).containsOnly(0);

    Tensor kept = tensor(dtype, new double[] {1, 2, 3, 4, 5, 6}, 2, 3);
    engine.matmul(
        arena.allocate(dtype, 2, 0), false, arena.allocate(dtype, 0, 3), false, kept, 1, true);
    assertThat(values(kept)).containsExactly(1, 2, 3, 4, 5, 6);

    engine.linear(
        arena.allocate(dtype, 2, 0),
        arena.allocate(dtype, 3, 0),
        tensor(dtype, new double[] {1, 2, 3}, 3),
        kept,
        out);
    assertThat(values(out)).containsExactly(2, 4, 6, 5, 7, 9);

    engine.matmul(
        arena.allocate(dtype, 0, 4),
        false,
        arena.allocate(dtype, 4, 3),
        false,
        arena.allocate(dtype, 0, 3),
        1,
        false);
    engine.linear(
        arena.allocate(dtype, 0, 4),
        arena.allocate(dtype, 3, 4),
        null,
        null,
        arena.allocate(dtype, 0, 3));
    engine.batchedMatmul(
        arena.allocate(dtype, 0, 2, 4),
        false,
        arena.allocate(dtype, 0, 4, 3),
        false,
        arena.allocate(dtype, 0, 2, 3),
        1,
        false);
  }

  @Test
  void wrongShapesAndTypesAreRefused() {
    Tensor a = arena.zeros(DType.FLOAT32, 2, 3);
    Tensor b = arena.zeros(DType.FLOAT32, 4, 5);
    Tensor narrow = arena.zeros(DType.BFLOAT16, 3, 5);
    Tensor out = arena.zeros(DType.FLOAT32, 2, 5);
    assertRefused("matmul", () -> engine.matmul(a, false, b, false, out, 1, false));
    assertRefused("matmul", () -> engine.matmul(a, false, narrow, false, out, 1, false));
    assertRefused("linear", () -> engine.linear(a, b, null, null, out));
    Tensor weight = arena.zeros(DType.FLOAT32, 5, 3);
    Tensor withGaps = arena.zeros(DType.FLOAT32, 5, 2).slice(1, 0, 1);
    assertRefused("linear", () -> engine.linear(a, weight, b, null, out));
    assertRefused("linear", () -> engine.linear(a, weight, withGaps, null, out));
    assertRefused("batchedMatmul", () -> engine.batchedMatmul(a, false, b, false, out, 1, false));
    assertRefused(
        "matmul",
        () ->
            engine.matmul(
                arena.zeros(DType.FLOAT32, 3, 3).transpose(0, 1).slice(1, 0, 2),
                true,
                b,
                false,
                out,
                1,
                false));
  }

  /** All odd sizes in each place, and a few larger ones that reach blocked code. */
  private static List<int[]> someSizes() {
    List<int[]> all = new ArrayList<>();
    for (long size : ODD_SIZES) {
      all.add(new int[] {(int) size, 7, 17});
      all.add(new int[] {17, (int) size, 3});
      all.add(new int[] {33, 65, (int) size});
    }
    all.add(new int[] {64, 128, 192}); // a library may have made kernels of such sizes
    all.addAll(
        Arrays.asList(new int[] {128, 64, 96}, new int[] {1, 300, 257}, new int[] {128, 192, 128}));
    return all;
  }
}
