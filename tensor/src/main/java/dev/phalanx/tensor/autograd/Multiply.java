package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Tensor;
import java.util.List;

/** The product of two values of one shape, element by element. */
public final class Multiply {
  private Multiply() {}

  public static Variable apply(Tape tape, Variable a, Variable b) {
    Tensor product = tape.allocate(a.value().dtype(), a.shape());
    tape.engine().multiply(a.value(), b.value(), product);
    return tape.record(
        product,
        List.of(a, b),
        List.of(),
        List.of(a, b),
        List.of(),
        dProduct -> {
          tape.contributeNew(a, dA -> tape.engine().multiply(dProduct, b.value(), dA));
          tape.contributeNew(b, dB -> tape.engine().multiply(dProduct, a.value(), dB));
        });
  }
}
