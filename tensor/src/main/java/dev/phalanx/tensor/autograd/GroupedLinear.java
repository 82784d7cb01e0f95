package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Several linear layers without bias, one below the other in one weight, each on some of the rows:
 *
 * <pre>
 *   x [n, in]            weight [groups * out, in]           y [n, out]
 *   | counts[0] rows |   | out rows of the first layer  |    | x0 w0^T |
 *   | counts[1] rows | * | out rows of the second layer | -> | x1 w1^T |
 * </pre>
 *
 * <p>A layer without rows has the gradient zero.
 */
public final class GroupedLinear {
  private GroupedLinear() {}

  /** What a layer has of each of three tensors, views that are closed after use. */
  private interface Product {
    void compute(Tensor x, Tensor weight, Tensor y);
  }

  /**
   * @param counts [groups], together n
   */
  public static Variable apply(Tape tape, Variable x, Parameter weight, long[] counts) {
    Engine engine = tape.engine();
    long outputs = weight.shape().size(0) / counts.length;
    Tensor y = tape.allocate(x.value().dtype(), Shape.of(x.shape().size(0), outputs));
    forEach(
        counts,
        x.value(),
        weight.value(),
        y,
        (rows, matrix, out) -> {
          if (rows.size(0) > 0) {
            engine.linear(rows, matrix, null, null, out);
          }
        });
    return tape.record(
        y,
        List.of(x),
        List.of(weight),
        List.of(x),
        List.of(),
        dy -> {
          tape.contribute(
              x,
              (dx, accumulate) ->
                  forEach(
                      counts,
                      dx,
                      weight.value(),
                      dy,
                      (dRows, matrix, dOut) -> {
                        if (dRows.size(0) > 0) {
                          engine.matmul(dOut, false, matrix, false, dRows, 1, accumulate);
                        }
                      }));
          tape.contributeLate(
              weight,
              (dWeight, accumulate) ->
                  forEach(
                      counts,
                      x.value(),
                      dWeight,
                      dy,
                      (rows, dMatrix, dOut) -> {
                        if (rows.size(0) > 0) {
                          engine.matmul(dOut, true, rows, false, dMatrix, 1, accumulate);
                        } else if (!accumulate) {
                          engine.fill(dMatrix, 0);
                        }
                      }));
        });
  }

  private static void forEach(long[] counts, Tensor x, Tensor weight, Tensor y, Product product) {
    long outputs = weight.size(0) / counts.length;
    long first = 0;
    for (int group = 0; group < counts.length; group++) {
      try (Tensor rows = x.slice(0, first, counts[group]);
          Tensor matrix = weight.slice(0, group * outputs, outputs);
          Tensor out = y.slice(0, first, counts[group])) {
        product.compute(rows, matrix, out);
      }
      first += counts[group];
    }
  }
}
