package dev.phalanx.engine.host;

import dev.phalanx.tensor.Tensor;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;

/** What cross-entropy does with a few numbers for each row. */
public final class LossRows {
  private static final long NOT_HERE = -1;

  private LossRows() {}

  /** The column of each row's target among {@code count} from the first, or a negative number. */
  public static long[] columns(Tensor targets, long firstColumn, long count) {
    LongBuffer numbers = longs(targets);
    long[] columns = new long[numbers.remaining()];
    for (int row = 0; row < columns.length; row++) {
      long column = numbers.get(row) - firstColumn;
      columns[row] = column >= 0 && column < count ? column : NOT_HERE;
    }
    return columns;
  }

  /** {@link dev.phalanx.tensor.Engine#crossEntropyOfParts}, of open tensors. */
  public static void lossesOfParts(Tensor sums, Tensor picked, Tensor targets, Tensor losses) {
    EngineContract.crossEntropyOfParts(sums, picked, targets, losses);
    FloatBuffer sum = floats(sums);
    FloatBuffer logit = floats(picked);
    FloatBuffer loss = floats(losses);
    LongBuffer target = longs(targets);
    for (int row = 0; row < loss.limit(); row++) {
      loss.put(row, target.get(row) < 0 ? 0 : (float) (Math.log(sum.get(row)) - logit.get(row)));
    }
  }

  private static FloatBuffer floats(Tensor tensor) {
    return tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize())).asFloatBuffer();
  }

  /** The elements of a contiguous INT64 tensor. */
  public static LongBuffer longs(Tensor tensor) {
    return tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize())).asLongBuffer();
  }
}
