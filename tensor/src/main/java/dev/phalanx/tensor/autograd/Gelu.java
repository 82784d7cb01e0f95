package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Tensor;
import java.util.List;

/** The GELU with the hyperbolic tangent (Hendrycks and Gimpel, 2016); see {@code Engine.gelu}. */
public final class Gelu {
  private Gelu() {}

  public static Variable apply(Tape tape, Variable x) {
    Tensor y = tape.allocate(x.value().dtype(), x.shape());
    tape.engine().gelu(x.value(), y);
    return tape.record(
        y,
        List.of(x),
        List.of(),
        List.of(x),
        List.of(),
        dy -> tape.contributeNew(x, dx -> tape.engine().geluBackward(dy, x.value(), dx)));
  }
}
