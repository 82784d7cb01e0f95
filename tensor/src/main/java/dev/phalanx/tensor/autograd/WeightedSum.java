package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Of every k rows that follow each other their sum, each with its weight: rows [n * k, d] and
 * weights [n, k] to [n, d].
 */
public final class WeightedSum {
  private WeightedSum() {}

  public static Variable apply(Tape tape, Variable rows, Variable weights) {
    Engine engine = tape.engine();
    long n = weights.shape().size(0);
    long k = weights.shape().size(1);
    long d = rows.shape().size(1);
    Tensor y = tape.allocate(rows.value().dtype(), Shape.of(n, d));
    try (Tensor factors = weights.value().reshape(n, 1, k);
        Tensor summands = rows.value().reshape(n, k, d);
        Tensor sums = y.reshape(n, 1, d)) {
      engine.batchedMatmul(factors, false, summands, false, sums, 1, false);
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
                    engine.batchedMatmul(dSums, false, summands, true, dFactors, 1, accumulate);
                  }
                });
            tape.contribute(
                rows,
                (dRows, accumulate) -> {
                  try (Tensor factors = weights.value().reshape(n, k, 1);
                      Tensor dSummands = dRows.reshape(n, k, d)) {
                    engine.batchedMatmul(factors, false, dSums, false, dSummands, 1, accumulate);
                  }
                });
          }
        });
  }
}
