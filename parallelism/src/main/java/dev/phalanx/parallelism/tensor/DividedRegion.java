package dev.phalanx.parallelism.tensor;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.List;

/**
 * The two ends of something that ranks compute a part each of (the operators f and g of Shoeybi et
 * al., 2019, "Megatron-LM", 3, and their counterparts g and g-bar of Korthikanti et al., 2022,
 * "Reducing Activation Recomputation in Large Transformer Models", 4.2.2), for what is no single
 * product.
 *
 * <pre>
 *                             forward                  backward
 *   enter  tensor parallel    x is here                sum of dx
 *          sequence parallel  gather rows of x         sum of dx, each rank its rows
 *   leave  tensor parallel    sum of y                 dy is here
 *          sequence parallel  sum of y, each its rows  gather rows of dy
 * </pre>
 */
public final class DividedRegion {
  private DividedRegion() {}

  /**
   * The rows [n, d] that are here to all rows; {@code x} itself in a group of one rank, and a view
   * of it without sequence parallelism.
   */
  public static Variable enter(TensorGroup group, Tape tape, Variable x) {
    if (group.isSingle()) {
      return x;
    }
    if (!group.isSequenceParallel()) {
      return tape.recordView(
          x.value().reshape(x.shape().toArray()),
          x,
          dAll -> {
            group.sum(dAll);
            tape.give(x, dAll);
          });
    }
    Tensor all = tape.allocate(x.value().dtype(), group.allRows(x.shape()));
    group.await(group.startGather(x.value(), all));
    return tape.record(
        all,
        List.of(x),
        List.of(),
        List.of(),
        List.of(),
        dAll -> tape.contributeNew(x, dx -> group.await(group.startSumRows(dAll, dx))));
  }

  /**
   * What each rank has of a sum, [all n, d], to the rows of the sum that belong here; {@code part}
   * itself in a group of one rank. The part must not be needed by what it was computed with, and is
   * of no further use.
   */
  public static Variable leave(TensorGroup group, Tape tape, Variable part) {
    if (group.isSingle()) {
      return part;
    }
    if (!group.isSequenceParallel()) {
      Tensor sum = tape.take(part);
      group.sum(sum);
      return tape.record(
          sum, List.of(part), List.of(), List.of(), List.of(), dy -> tape.give(part, dy));
    }
    Tensor rows = tape.allocate(part.value().dtype(), group.ownRows(part.shape()));
    group.await(group.startSumRows(part.value(), rows));
    Variable result =
        tape.record(
            rows,
            List.of(part),
            List.of(),
            List.of(),
            List.of(),
            dy -> tape.contributeNew(part, dPart -> group.await(group.startGather(dy, dPart))));
    tape.release(part);
    return result;
  }
}
