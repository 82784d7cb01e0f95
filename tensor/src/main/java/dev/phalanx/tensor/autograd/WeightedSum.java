package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Of every k rows that follow each other their sum, each with its weight: rows [n * k, d] and
 * weights [n, k] to [n, d]. Computed in FLOAT32 whatever the values are: engines multiply many tiny
 * matrices of narrower types one by one.
 */
public final class WeightedSum {
  private WeightedSum() {}

  public static Variable apply(Tape tape, Variable rows, Variable weights) {
    long n = weights.shape().size(0);
    long k = weights.shape().size(1);
    long d = rows.shape().size(1);
    Tensor y = tape.allocate(rows.value().dtype(), Shape.of(n, d));
    try (Tensor factors = weights.value().reshape(n, 1, k);
        Tensor summands = rows.value().reshape(n, k, d);
        Tensor sums = y.reshape(n, 1, d)) {
      multiply(tape, factors, summands, false, sums, false);
    }
    return tape.record(
        y,
        List.of(rows, weights),
        List.of(),
        List.of(rows, weights),
        List.of(),
        dy -> {
          try (Tensor dSums = dy.reshape(n, 1, d)) {
            tape.contribute(
                weights,
                (dWeights, accumulate) -> {
                  try (Tensor summands = rows.value().reshape(n, k, d);
                      Tensor dFactors = dWeights.reshape(n, 1, k)) {
                    multiply(tape, dSums, summands, true, dFactors, accumulate);
                  }
                });
            tape.contribute(
                rows,
                (dRows, accumulate) -> {
                  try (Tensor factors = weights.value().reshape(n, k, 1);
                      Tensor dSummands = dRows.reshape(n, k, d)) {
                    multiply(tape, factors, dSums, false, dSummands, accumulate);
                  }
                });
          }
        });
  }

  /** See {@link Engine#batchedMatmul}. */
  private static void multiply(
      Tape tape, Tensor a, Tensor b, boolean transposeB, Tensor out, boolean accumulate) {
    Engine engine = tape.engine();
    if (out.dtype() == DType.FLOAT32) {
      engine.batchedMatmul(a, false, b, transposeB, out, 1, accumulate);
      return;
    }
    try (Tensor wideA = widened(tape, a);
        Tensor wideB = widened(tape, b);
        Tensor wideOut = tape.allocate(DType.FLOAT32, out.shape())) {
      engine.batchedMatmul(wideA, false, wideB, transposeB, wideOut, 1, false);
      if (accumulate) {
        engine.addScaled(1, wideOut, out);
      } else {
        engine.copy(wideOut, out);
      }
    }
  }

  private static Tensor widened(Tape tape, Tensor values) {
    Tensor wide = tape.allocate(DType.FLOAT32, values.shape());
    tape.engine().copy(values, wide);
    return wide;
  }
}
