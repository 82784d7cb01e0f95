package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.HostAdder;
import java.nio.ByteBuffer;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ShortBuffer;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Combines runs of elements in host memory: {@code into = into (operation) from}. Blocks are copied
 * to arrays that stay in the first cache level, because the JVM turns loops over arrays into vector
 * instructions, and loops over buffers of native memory not always. Long sums are left to a native
 * library where there is one, which is four times as fast.
 *
 * <p>One thread at a time.
 */
final class HostReduction {
  private static final int BLOCK = 2048;

  /** Numbers from which a call of native code is worth its while. */
  private static final int NATIVE_FROM = 4096;

  private @Nullable Optional<HostAdder> adder; // looked for where it is needed first
  private final float[] floats = new float[BLOCK];
  private final float[] otherFloats = new float[BLOCK];
  private final double[] doubles = new double[BLOCK];
  private final double[] otherDoubles = new double[BLOCK];
  private final long[] longs = new long[BLOCK];
  private final long[] otherLongs = new long[BLOCK];
  private final int[] ints = new int[BLOCK];
  private final int[] otherInts = new int[BLOCK];
  private final short[] shorts = new short[BLOCK];

  /** Whether elements of this type can be reduced. */
  static boolean supports(DType dtype) {
    return switch (dtype) {
      case FLOAT32, FLOAT64, BFLOAT16, INT32, INT64 -> true;
      case FLOAT16, UINT8 -> false;
    };
  }

  /**
   * @param operation {@code AVERAGE} sums here; see {@link #divide}
   */
  void reduce(DType dtype, ReduceOperation operation, ByteBuffer from, ByteBuffer into) {
    switch (dtype) {
      case FLOAT32 -> reduceFloats(operation, from.asFloatBuffer(), into.asFloatBuffer());
      case FLOAT64 -> reduceDoubles(operation, from.asDoubleBuffer(), into.asDoubleBuffer());
      case BFLOAT16 -> reduceBfloats(operation, from.asShortBuffer(), into.asShortBuffer());
      case INT32 -> reduceInts(operation, from.asIntBuffer(), into.asIntBuffer());
      case INT64 -> reduceLongs(operation, from.asLongBuffer(), into.asLongBuffer());
      case FLOAT16, UINT8 -> throw unsupported(dtype);
    }
  }

  /** Divides every element, the last step of an average. Whole numbers are rounded towards zero. */
  void divide(DType dtype, ByteBuffer values, int divisor) {
    switch (dtype) {
      case FLOAT32 -> divideFloats(values.asFloatBuffer(), divisor);
      case FLOAT64 -> {
        DoubleBuffer buffer = values.asDoubleBuffer();
        for (int i = 0; i < buffer.limit(); i++) {
          buffer.put(i, buffer.get(i) / divisor);
        }
      }
      case BFLOAT16 -> {
        ShortBuffer buffer = values.asShortBuffer();
        for (int i = 0; i < buffer.limit(); i++) {
          buffer.put(i, narrow(widen(buffer.get(i)) / divisor));
        }
      }
      case INT32 -> {
        IntBuffer buffer = values.asIntBuffer();
        for (int i = 0; i < buffer.limit(); i++) {
          buffer.put(i, buffer.get(i) / divisor);
        }
      }
      case INT64 -> {
        LongBuffer buffer = values.asLongBuffer();
        for (int i = 0; i < buffer.limit(); i++) {
          buffer.put(i, buffer.get(i) / divisor);
        }
      }
      case FLOAT16, UINT8 -> throw unsupported(dtype);
    }
  }

  private static IllegalArgumentException unsupported(DType dtype) {
    return new IllegalArgumentException("Elements of type " + dtype + " cannot be reduced");
  }

  private void reduceFloats(ReduceOperation operation, FloatBuffer from, FloatBuffer into) {
    boolean isSum = operation == ReduceOperation.SUM || operation == ReduceOperation.AVERAGE;
    if (isSum && into.remaining() >= NATIVE_FROM && from.isDirect() && into.isDirect()) {
      Optional<HostAdder> found = adder;
      if (found == null) {
        found = HostAdder.find();
        adder = found;
      }
      if (found.isPresent()) {
        found.get().add(from, into);
        return;
      }
    }
    for (int start = 0; start < into.limit(); start += BLOCK) {
      int count = Math.min(BLOCK, into.limit() - start);
      from.get(start, otherFloats, 0, count);
      into.get(start, floats, 0, count);
      combine(operation, otherFloats, floats, count);
      into.put(start, floats, 0, count);
    }
  }

  private static void combine(ReduceOperation operation, float[] from, float[] into, int count) {
    switch (operation) {
      case SUM, AVERAGE -> {
        for (int i = 0; i < count; i++) {
          into[i] += from[i];
        }
      }
      case MINIMUM -> {
        for (int i = 0; i < count; i++) {
          into[i] = Math.min(into[i], from[i]);
        }
      }
      case MAXIMUM -> {
        for (int i = 0; i < count; i++) {
          into[i] = Math.max(into[i], from[i]);
        }
      }
    }
  }

  private void divideFloats(FloatBuffer values, int divisor) {
    for (int start = 0; start < values.limit(); start += BLOCK) {
      int count = Math.min(BLOCK, values.limit() - start);
      values.get(start, floats, 0, count);
      for (int i = 0; i < count; i++) {
        floats[i] /= divisor;
      }
      values.put(start, floats, 0, count);
    }
  }

  private void reduceDoubles(ReduceOperation operation, DoubleBuffer from, DoubleBuffer into) {
    for (int start = 0; start < into.limit(); start += BLOCK) {
      int count = Math.min(BLOCK, into.limit() - start);
      from.get(start, otherDoubles, 0, count);
      into.get(start, doubles, 0, count);
      for (int i = 0; i < count; i++) {
        doubles[i] =
            switch (operation) {
              case SUM, AVERAGE -> doubles[i] + otherDoubles[i];
              case MINIMUM -> Math.min(doubles[i], otherDoubles[i]);
              case MAXIMUM -> Math.max(doubles[i], otherDoubles[i]);
            };
      }
      into.put(start, doubles, 0, count);
    }
  }

  private void reduceBfloats(ReduceOperation operation, ShortBuffer from, ShortBuffer into) {
    for (int start = 0; start < into.limit(); start += BLOCK) {
      int count = Math.min(BLOCK, into.limit() - start);
      from.get(start, shorts, 0, count);
      widen(shorts, otherFloats, count);
      into.get(start, shorts, 0, count);
      widen(shorts, floats, count);
      combine(operation, otherFloats, floats, count);
      for (int i = 0; i < count; i++) {
        shorts[i] = narrow(floats[i]);
      }
      into.put(start, shorts, 0, count);
    }
  }

  private static void widen(short[] from, float[] into, int count) {
    for (int i = 0; i < count; i++) {
      into[i] = widen(from[i]);
    }
  }

  private static float widen(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  /** Rounds to the nearest, to even where two are as near; what is no number stays none. */
  private static short narrow(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) ((bits >>> 16) | 0x40);
    }
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }

  private void reduceInts(ReduceOperation operation, IntBuffer from, IntBuffer into) {
    for (int start = 0; start < into.limit(); start += BLOCK) {
      int count = Math.min(BLOCK, into.limit() - start);
      from.get(start, otherInts, 0, count);
      into.get(start, ints, 0, count);
      for (int i = 0; i < count; i++) {
        ints[i] =
            switch (operation) {
              case SUM, AVERAGE -> ints[i] + otherInts[i];
              case MINIMUM -> Math.min(ints[i], otherInts[i]);
              case MAXIMUM -> Math.max(ints[i], otherInts[i]);
            };
      }
      into.put(start, ints, 0, count);
    }
  }

  private void reduceLongs(ReduceOperation operation, LongBuffer from, LongBuffer into) {
    for (int start = 0; start < into.limit(); start += BLOCK) {
      int count = Math.min(BLOCK, into.limit() - start);
      from.get(start, otherLongs, 0, count);
      into.get(start, longs, 0, count);
      for (int i = 0; i < count; i++) {
        longs[i] =
            switch (operation) {
              case SUM, AVERAGE -> longs[i] + otherLongs[i];
              case MINIMUM -> Math.min(longs[i], otherLongs[i]);
              case MAXIMUM -> Math.max(longs[i], otherLongs[i]);
            };
      }
      into.put(start, longs, 0, count);
    }
  }
}
