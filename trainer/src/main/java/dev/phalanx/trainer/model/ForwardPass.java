package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.context.ContextGroup;
import dev.phalanx.parallelism.context.ContextGroup.Chunk;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.tensor.autograd.Dropout;
import dev.phalanx.tensor.autograd.RotaryTable;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What one pass over a micro-batch is about.
 *
 * @param batch sequences
 * @param length tokens of each that are here
 * @param firstPosition the place of the first of them in its sequence
 * @param context the ranks that divide the sequences
 * @param rotary the angles of the positions, for models with rotary positions
 * @param isTraining whether values are dropped
 * @param setup what whoever runs steps says of it
 */
record ForwardPass(
    long batch,
    long length,
    long firstPosition,
    ContextGroup context,
    @Nullable RotaryTable rotary,
    boolean isTraining,
    PassSetup setup) {
  /**
   * The numbers that the elements of values [n, width] have within the global batch, for those
   * tokens that are here.
   */
  List<Dropout.Run> elements(TensorGroup group, long width) {
    TensorGroup.Share here = group.rows(batch * length);
    long sequence = length * context.size();
    List<Dropout.Run> runs = new ArrayList<>();
    long row = 0;
    for (long number = 0; number < batch; number++) {
      for (Chunk chunk : context.chunks(sequence)) {
        long first = Math.max(row, here.first());
        long end = Math.min(row + chunk.count(), here.first() + here.count());
        if (first < end) {
          long token = (setup.firstSequence() + number) * sequence + chunk.first() + first - row;
          append(runs, end - first, token * width, width);
        }
        row += chunk.count();
      }
    }
    return runs;
  }

  /** Rows that go on where the last run ends make that longer. */
  private static void append(List<Dropout.Run> runs, long rows, long firstIndex, long width) {
    if (!runs.isEmpty()) {
      Dropout.Run last = runs.get(runs.size() - 1);
      if (last.firstIndex() + last.rows() * width == firstIndex) {
        runs.set(runs.size() - 1, new Dropout.Run(last.rows() + rows, last.firstIndex()));
        return;
      }
    }
    runs.add(new Dropout.Run(rows, firstIndex));
  }
}
