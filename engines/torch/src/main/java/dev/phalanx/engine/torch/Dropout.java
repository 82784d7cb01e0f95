package dev.phalanx.engine.torch;

import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.FloatBuffer;
import java.nio.ShortBuffer;

/**
 * Dropout with numbers of {@link CounterRandom}, which LibTorch does not know: loops of our own.
 */
final class Dropout {
  private static final int PIECE = 1 << 28;

  /** Elements that are widened to FLOAT32 at once; they stay in the first or second cache. */
  private static final long WIDENED_PIECE = 32 * 1024;

  private final TorchContext context;
  private final Elementwise elementwise;
  private final Scratch widened;

  Dropout(TorchContext context, Elementwise elementwise) {
    this.context = context;
    this.elementwise = elementwise;
    this.widened = context.scratch();
  }

  void dropout(Tensor x, double probability, long seed, long firstIndex, Tensor out) {
    Arguments.alike("dropout", x, out);
    if (!(probability >= 0 && probability <= 1)) {
      throw new IllegalArgumentException(
          "dropout wants a probability from 0 to 1, not " + probability);
    }
    if (probability == 0) {
      if (x.address() != out.address()) {
        elementwise.copy(x, out);
      }
      return;
    }
    // unit(seed, i) >= probability, with both sides times 2^53
    long threshold = (long) Math.ceil(probability * 0x1.0p53);
    float factor = (float) (1 / (1 - probability));
    if (x.dtype() == DType.FLOAT16) {
      halves(x, out, threshold, factor, seed, firstIndex);
      return;
    }
    int width = x.dtype().byteSize();
    for (long start = 0; start < x.elementCount(); start += PIECE) {
      int count = (int) Math.min(PIECE, x.elementCount() - start);
      var from = x.byteBuffer(start * width, count * width);
      var to = out.byteBuffer(start * width, count * width);
      long first = firstIndex + start;
      if (x.dtype() == DType.FLOAT32) {
        floats(from.asFloatBuffer(), to.asFloatBuffer(), count, threshold, factor, seed, first);
      } else if (x.dtype() == DType.BFLOAT16) {
        bfloats(from.asShortBuffer(), to.asShortBuffer(), count, threshold, factor, seed, first);
      } else {
        throw Arguments.unfit("dropout", "FLOAT32, BFLOAT16 or FLOAT16", x);
      }
    }
  }

  private void halves(
      Tensor x, Tensor out, long threshold, float factor, long seed, long firstIndex) {
    try (var from = context.of(x).view(-1);
        var to = context.of(out).view(-1)) {
      for (long start = 0; start < x.elementCount(); start += WIDENED_PIECE) {
        long count = Math.min(WIDENED_PIECE, x.elementCount() - start);
        var wide = widened.get(DType.FLOAT32, count);
        try (var some = from.narrow(0, start, count);
            var result = to.narrow(0, start, count)) {
          wide.copy_(some);
          FloatBuffer numbers = TorchContext.hostFloats(wide);
          floats(numbers, numbers, (int) count, threshold, factor, seed, firstIndex + start);
          result.copy_(wide);
        }
      }
    }
  }

  private static void floats(
      FloatBuffer from,
      FloatBuffer to,
      int count,
      long threshold,
      float factor,
      long seed,
      long first) {
    for (int i = 0; i < count; i++) {
      boolean kept = CounterRandom.at(seed, first + i) >>> 11 >= threshold;
      to.put(i, kept ? from.get(i) * factor : 0f);
    }
  }

  private static void bfloats(
      ShortBuffer from,
      ShortBuffer to,
      int count,
      long threshold,
      float factor,
      long seed,
      long first) {
    for (int i = 0; i < count; i++) {
      boolean kept = CounterRandom.at(seed, first + i) >>> 11 >= threshold;
      to.put(i, kept ? rounded(Float.intBitsToFloat(from.get(i) << 16) * factor) : 0);
    }
  }

  /** The bits of the nearest BFLOAT16, of two equally near the even one. */
  private static short rounded(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) (bits >>> 16 | 0x40);
    }
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }
}
