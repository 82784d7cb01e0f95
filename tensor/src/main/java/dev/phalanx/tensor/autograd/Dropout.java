package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Inverted dropout (Srivastava et al., 2014) whose mask is a function of a seed and each element's
 * global number.
 */
public final class Dropout {
  private Dropout() {}

  /**
   * @param probability of an element to become zero; at 0 the value itself is returned
   * @param firstIndex the number of the first element in the sequence of {@code seed}
   */
  public static Variable apply(
      Tape tape, Variable x, double probability, long seed, long firstIndex) {
    if (probability == 0) {
      return x;
    }
    Tensor y = tape.allocate(x.value().dtype(), x.shape());
    tape.engine().dropout(x.value(), probability, seed, firstIndex, y);
    return tape.record(
        y,
        List.of(x),
        List.of(),
        List.of(),
        List.of(),
        dy ->
            tape.contributeNew(
                x, dx -> tape.engine().dropout(dy, probability, seed, firstIndex, dx)));
  }
}
