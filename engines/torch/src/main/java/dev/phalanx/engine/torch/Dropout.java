package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.Arguments;
import dev.phalanx.engine.host.DropoutMask;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.FloatBuffer;
import java.nio.ShortBuffer;

/**
 * Dropout with numbers of {@link dev.phalanx.tensor.CounterRandom}, which LibTorch does not know:
 * loops of our own.
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
    EngineContract.dropout(x, probability, out);
    if (probability == 0) {
      if (x.address() != out.address()) {
        elementwise.copy(x, out);
      }
      return;
    }
    DropoutMask mask = DropoutMask.of(probability, seed);
    if (x.dtype() == DType.FLOAT16) {
      halves(x, out, mask, firstIndex);
      return;
    }
    if (x.dtype() == DType.FLOAT32) {
      mask.apply(x, out, firstIndex);
    } else if (x.dtype() == DType.BFLOAT16) {
      for (long start = 0; start < x.elementCount(); start += PIECE) {
        int count = (int) Math.min(PIECE, x.elementCount() - start);
        var from = x.byteBuffer(start * Short.BYTES, count * Short.BYTES);
        var to = out.byteBuffer(start * Short.BYTES, count * Short.BYTES);
        bfloats(from.asShortBuffer(), to.asShortBuffer(), count, mask, firstIndex + start);
      }
    } else {
      throw Arguments.unfit("dropout", "FLOAT32, BFLOAT16 or FLOAT16", x);
    }
  }

  private void halves(Tensor x, Tensor out, DropoutMask mask, long firstIndex) {
    try (var from = context.of(x).view(-1);
        var to = context.of(out).view(-1)) {
      for (long start = 0; start < x.elementCount(); start += WIDENED_PIECE) {
        long count = Math.min(WIDENED_PIECE, x.elementCount() - start);
        var wide = widened.get(DType.FLOAT32, count);
        try (var some = from.narrow(0, start, count);
            var result = to.narrow(0, start, count)) {
          wide.copy_(some);
          FloatBuffer numbers = TorchContext.hostFloats(wide);
          mask.apply(numbers, numbers, (int) count, firstIndex + start);
          result.copy_(wide);
        }
      }
    }
  }

  private static void bfloats(
      ShortBuffer from, ShortBuffer to, int count, DropoutMask mask, long first) {
    for (int i = 0; i < count; i++) {
      boolean kept = mask.keeps(first + i);
      to.put(i, kept ? rounded(Float.intBitsToFloat(from.get(i) << 16) * mask.factor()) : 0);
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
