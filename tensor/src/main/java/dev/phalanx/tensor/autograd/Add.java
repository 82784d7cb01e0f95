package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Tensor;
import java.util.List;

/** The sum of two values of one shape. */
public final class Add {
  private Add() {}

  public static Variable apply(Tape tape, Variable a, Variable b) {
    Tensor sum = tape.allocate(a.value().dtype(), a.shape());
    tape.engine().add(a.value(), b.value(), sum);
    return tape.record(
        sum,
        List.of(a, b),
        List.of(),
        List.of(),
        List.of(),
        dSum -> {
          tape.contribute(
              a,
              (dA, accumulate) -> {
                if (accumulate) {
                  tape.engine().addScaled(1, dSum, dA);
                } else {
                  tape.engine().copy(dSum, dA);
                }
              });
          tape.give(b, dSum);
        });
  }
}
