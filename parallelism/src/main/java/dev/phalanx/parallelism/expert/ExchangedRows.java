package dev.phalanx.parallelism.expert;

import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.Arrays;
import java.util.List;

/** Rows to the ranks of their experts, or back; their gradients go the other way. */
final class ExchangedRows {
  private ExchangedRows() {}

  /**
   * @param rows [n, d], for rank 0, for rank 1 and so on
   * @param counts [ranks] of them
   * @param arriving [ranks] of the rows that each one sends here
   * @return [m, d], of rank 0, of rank 1 and so on
   */
  static Variable apply(
      ExpertGroup group, Tape tape, Variable rows, long[] counts, long[] arriving) {
    Shape shape = Shape.of(Arrays.stream(arriving).sum(), rows.shape().size(1));
    Tensor received = tape.allocate(rows.value().dtype(), shape);
    group.exchange(rows.value(), counts, received, arriving);
    return tape.record(
        received,
        List.of(rows),
        List.of(),
        List.of(),
        List.of(),
        dReceived ->
            tape.contributeNew(rows, dRows -> group.exchange(dReceived, arriving, dRows, counts)));
  }
}
