package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/** The product of two matrices, [m, k] times [k, n]. */
public final class MatMul {
  private MatMul() {}

  public static Variable apply(Tape tape, Variable a, Variable b) {
    Engine engine = tape.engine();
    Tensor product =
        tape.allocate(a.value().dtype(), Shape.of(a.shape().size(0), b.shape().size(1)));
    engine.matmul(a.value(), false, b.value(), false, product, 1, false);
    return tape.record(
        product,
        List.of(a, b),
        List.of(),
        List.of(a, b),
        List.of(),
        dProduct -> {
          tape.contribute(
              a,
              (dA, accumulate) ->
                  engine.matmul(dProduct, false, b.value(), true, dA, 1, accumulate));
          tape.contribute(
              b,
              (dB, accumulate) ->
                  engine.matmul(a.value(), true, dProduct, false, dB, 1, accumulate));
        });
  }
}
