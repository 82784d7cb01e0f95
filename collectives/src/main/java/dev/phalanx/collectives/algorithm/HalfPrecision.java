package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;

/**
 * Elements of BFLOAT16 or FLOAT16 as those of FLOAT32, rounded to the nearest on the way back, to
 * even where two are as near. What is no number stays none.
 *
 * <p>The JVM has vector instructions for arithmetic on elements of one width, but none that change
 * the width or take the bits of an int for a float. So halves are read two by two as ints, pulled
 * apart by shifts, and become floats in memory that is read as both; what depends on a comparison
 * is masked instead of chosen. In an array the lower halves of all pairs come first, of which
 * arithmetic that treats all elements alike takes no notice.
 *
 * <pre>
 *   memory        a0 a1 | a2 a3 | a4 a5
 *   array         a0   a2   a4   a1   a3   a5
 * </pre>
 *
 * <p>One thread at a time.
 */
abstract sealed class HalfPrecision {
  private final ByteBuffer scratch;
  private final IntBuffer scratchInts;
  private final FloatBuffer scratchFloats;
  private final int[] pairs;

  private final int[] halves; // each element in the upper half

  private HalfPrecision(int length) {
    this.scratch = ByteBuffer.allocate(length * Float.BYTES).order(ByteOrder.nativeOrder());
    this.scratchInts = scratch.asIntBuffer();
    this.scratchFloats = scratch.asFloatBuffer();
    this.pairs = new int[length / 2];
    this.halves = new int[length];
  }

  /**
   * @param length the most elements that are copied at once; even
   */
  static HalfPrecision of(DType dtype, int length) {
    return switch (dtype) {
      case BFLOAT16 -> new Bfloat16(length);
      case FLOAT16 -> new Float16(length);
      case FLOAT32, FLOAT64, INT32, INT64, UINT8 ->
          throw new IllegalArgumentException(dtype + " is no floating-point type of 16 bits");
    };
  }

  /** An odd count leaves one more element, of no meaning, after the last. */
  final void read(ByteBuffer from, int index, float[] into, int count) {
    scratch.put(0, from, index * Short.BYTES, count * Short.BYTES);
    int pairCount = (count + 1) / 2;
    scratchInts.get(0, pairs, 0, pairCount);
    split(pairs, halves, pairCount);
    widen(halves, into, 2 * pairCount);
  }

  /** The inverse of {@link #read}. */
  final void write(ByteBuffer into, int index, float[] from, int count) {
    int pairCount = (count + 1) / 2;
    narrow(from, halves, 2 * pairCount);
    join(halves, pairs, pairCount);
    scratchInts.put(0, pairs, 0, pairCount);
    into.put(index * Short.BYTES, scratch, 0, count * Short.BYTES);
  }

  /** Copies the upper halves, for a loop that stores at an offset gets no vector instructions. */
  private static void split(int[] pairs, int[] halves, int count) {
    for (int i = 0; i < count; i++) {
      halves[i] = pairs[i] << 16;
    }
    for (int i = 0; i < count; i++) {
      pairs[i] &= 0xffff0000;
    }
    System.arraycopy(pairs, 0, halves, count, count);
  }

  private static void join(int[] halves, int[] pairs, int count) {
    System.arraycopy(halves, count, pairs, 0, count);
    for (int i = 0; i < count; i++) {
      pairs[i] = (halves[i] >>> 16) | (pairs[i] & 0xffff0000);
    }
  }

  /**
   * @param from the bits of each element above sixteen zeros; changed
   */
  abstract void widen(int[] from, float[] into, int count);

  /**
   * @param into the bits of each element above sixteen without meaning
   */
  abstract void narrow(float[] from, int[] into, int count);

  final void asFloats(int[] bits, float[] values, int count) {
    scratchInts.put(0, bits, 0, count);
    scratchFloats.get(0, values, 0, count);
  }

  final void asBits(float[] values, int[] bits, int count) {
    scratchFloats.put(0, values, 0, count);
    scratchInts.get(0, bits, 0, count);
  }

  /** All ones where {@code a < b}, else zero; for numbers less than 2^31 apart. */
  static int less(int a, int b) {
    return (a - b) >> 31;
  }

  private static final class Bfloat16 extends HalfPrecision {
    Bfloat16(int length) {
      super(length);
    }

    @Override
    void widen(int[] from, float[] into, int count) {
      asFloats(from, into, count);
    }

    /**
     * The addition to the bits carries into the exponent, up to that of infinity. What is no number
     * came of halves, so that its lower bits are zeros and nothing carries.
     */
    @Override
    void narrow(float[] from, int[] into, int count) {
      asBits(from, into, count);
      for (int i = 0; i < count; i++) {
        into[i] += 0x7fff + ((into[i] >>> 16) & 1);
      }
    }
  }

  private static final class Float16 extends HalfPrecision {
    private final float[] shifted;
    private final int[] shiftedBits;

    Float16(int length) {
      super(length);
      this.shifted = new float[length];
      this.shiftedBits = new int[length];
    }

    /**
     * The exponent's bias is 112 less than a FLOAT32's, which a multiplication puts right for
     * subnormal numbers too. The exponent of infinity has become a FLOAT32's before.
     */
    @Override
    void widen(int[] from, float[] into, int count) {
      for (int i = 0; i < count; i++) {
        int magnitude = (from[i] >>> 3) & 0x0fffe000;
        int isNotFinite = less(0x0f7fffff, magnitude);
        from[i] = (from[i] & 0x80000000) | (magnitude + (isNotFinite & 0x70000000));
      }
      asFloats(from, into, count);
      for (int i = 0; i < count; i++) {
        into[i] *= 0x1p112f;
      }
    }

    /**
     * A normal number is rounded as a BFLOAT16 is. A subnormal one is rounded by the addition of
     * one half, whose last place in FLOAT32 is the last place of subnormal numbers.
     */
    @Override
    void narrow(float[] from, int[] into, int count) {
      for (int i = 0; i < count; i++) {
        shifted[i] = Math.abs(from[i]) + 0.5f;
      }
      asBits(shifted, shiftedBits, count);
      asBits(from, into, count);
      for (int i = 0; i < count; i++) {
        int magnitude = into[i] & 0x7fffffff;
        int isSubnormal = less(magnitude, 0x38800000); // 2^-14
        int subnormal = shiftedBits[i] - 0x3f000000; // one half
        int normal = (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >> 13;
        int isFinite = less(normal, 0x7c00);
        int isNan = less(0x7f800000, magnitude);
        int result =
            (isSubnormal & subnormal)
                | (~isSubnormal & ((isFinite & normal) | (~isFinite & 0x7c00)))
                | (isNan & 0x0200);
        into[i] = (into[i] & 0x80000000) | (result << 16);
      }
    }
  }
}
