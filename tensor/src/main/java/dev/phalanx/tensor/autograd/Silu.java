package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Tensor;
import java.util.List;

/** {@code x * sigmoid(x)}, also known as swish. */
public final class Silu {
  private Silu() {}

  public static Variable apply(Tape tape, Variable x) {
    Tensor y = tape.allocate(x.value().dtype(), x.shape());
    tape.engine().silu(x.value(), y);
    return tape.record(
        y,
        List.of(x),
        List.of(),
        List.of(x),
        List.of(),
        dy -> tape.contributeNew(x, dx -> tape.engine().siluBackward(dy, x.value(), dx)));
  }
}
