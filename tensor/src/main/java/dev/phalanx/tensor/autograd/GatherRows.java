package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.HostArrays;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * Rows by number, any of them as often as wanted: {@code y[i] = x[numbers[i]]}, [n, d] to [m, d].
 */
public final class GatherRows {
  private GatherRows() {}

  /**
   * @param numbers [m], each from 0 to n - 1
   */
  public static Variable apply(Tape tape, Variable x, long[] numbers) {
    Tensor ids = HostArrays.upload(tape.arena(), numbers);
    Tensor y = tape.allocate(x.value().dtype(), Shape.of(numbers.length, x.shape().size(1)));
    tape.engine().gatherRows(x.value(), ids, y, false);
    return tape.record(
        y,
        List.of(x),
        List.of(),
        List.of(),
        List.of(ids),
        dy ->
            tape.contribute(
                x,
                (dx, accumulate) -> {
                  if (!accumulate) {
                    tape.engine().fill(dx, 0);
                  }
                  tape.engine().scatterAddRows(dy, ids, dx);
                }));
  }
}
