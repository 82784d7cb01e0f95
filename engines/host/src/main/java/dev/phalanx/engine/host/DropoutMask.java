package dev.phalanx.engine.host;

import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.Tensor;
import java.nio.FloatBuffer;

/**
 * Which elements {@link dev.phalanx.tensor.Engine#dropout} keeps: tensor libraries do not know the
 * numbers of {@link CounterRandom}.
 *
 * @param threshold an element is kept where its number's upper 53 bits reach it
 * @param factor of those that are kept
 */
public record DropoutMask(long seed, long threshold, float factor) {
  /** Elements that a buffer of 2 GB holds with room to spare. */
  private static final int PIECE = 1 << 28;

  public static DropoutMask of(double probability, long seed) {
    // unit(seed, i) >= probability, with both sides times 2^53
    return new DropoutMask(
        seed, (long) Math.ceil(probability * 0x1.0p53), (float) (1 / (1 - probability)));
  }

  /** Whether the element of this number is kept. */
  public boolean keeps(long index) {
    return CounterRandom.at(seed, index) >>> 11 >= threshold;
  }

  /**
   * All elements of contiguous FLOAT32 tensors, of which the first has number {@code firstIndex}.
   */
  public void apply(Tensor from, Tensor to, long firstIndex) {
    for (long start = 0; start < from.elementCount(); start += PIECE) {
      int count = (int) Math.min(PIECE, from.elementCount() - start);
      apply(
          from.byteBuffer(Float.BYTES * start, Float.BYTES * count).asFloatBuffer(),
          to.byteBuffer(Float.BYTES * start, Float.BYTES * count).asFloatBuffer(),
          count,
          firstIndex + start);
    }
  }

  /** The first {@code count} elements, of which the first has number {@code firstIndex}. */
  public void apply(FloatBuffer from, FloatBuffer to, int count, long firstIndex) {
    for (int i = 0; i < count; i++) {
      to.put(i, keeps(firstIndex + i) ? from.get(i) * factor : 0f);
    }
  }
}
