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
    return tape.record(
        gather(tape, x, ids),
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

  /**
   * All rows in another order.
   *
   * @param numbers [n], each from 0 to n - 1 once
   * @param inverse [n], so that {@code numbers[inverse[i]] = i}
   */
  public static Variable permute(Tape tape, Variable x, long[] numbers, long[] inverse) {
    Tensor ids = HostArrays.upload(tape.arena(), numbers);
    Tensor back = HostArrays.upload(tape.arena(), inverse);
    Variable y =
        tape.record(
            gather(tape, x, ids),
            List.of(x),
            List.of(),
            List.of(),
            List.of(back),
            dy ->
                tape.contribute(
                    x, (dx, accumulate) -> tape.engine().gatherRows(dy, back, dx, accumulate)));
    ids.close();
    return y;
  }

  private static Tensor gather(Tape tape, Variable x, Tensor ids) {
    Tensor y = tape.allocate(x.value().dtype(), Shape.of(ids.size(0), x.shape().size(1)));
    tape.engine().gatherRows(x.value(), ids, y, false);
    return y;
  }
}
