package dev.phalanx.sharding.compression;

/**
 * Numbers as their signs times the mean of their magnitudes (Seide et al., 2014, "1-Bit Stochastic
 * Gradient Descent"; the scale is that of Karimireddy et al., 2019, "Error Feedback Fixes
 * SignSGD").
 *
 * <p>With {@link TwoWayReduction}, its two error feedbacks and a warm-up in full precision this is
 * the communication of 1-bit Adam (Tang et al., 2021). What else makes that optimizer is its own
 * matter: from the first compressed step on ({@link Compression#isCompressedAt}) it leaves its
 * second moments as they are, and hands over its first moments, updated with this rank's gradients,
 * in the place of gradients.
 *
 * <pre>
 *   | scale, FLOAT32 | signs, 32 in an INT32, the first in the lowest bit; 1: negative |
 * </pre>
 *
 * <p>1 / 8 byte an element and four bytes a part.
 */
final class OneBitCodec implements PartCodec {
  private final float[] numbers = new float[HostMemory.BLOCK]; // a multiple of Integer.SIZE

  @Override
  public long messageBytes(long elements) {
    return Float.BYTES + (elements + Integer.SIZE - 1) / Integer.SIZE * Integer.BYTES;
  }

  @Override
  public void encode(
      HostMemory values,
      long first,
      long count,
      HostMemory message,
      long messageOffset,
      long capacity) {
    float scale = meanMagnitude(values, first, count);
    long words = messageOffset / Integer.BYTES + 1;
    message.putFloat(messageOffset / Float.BYTES, scale);
    for (long start = 0; start < count; start += numbers.length) {
      int length = (int) Math.min(numbers.length, count - start);
      values.read(first + start, numbers, length);
      for (int from = 0; from < length; from += Integer.SIZE) {
        int signs = 0;
        int until = Math.min(from + Integer.SIZE, length);
        for (int i = from; i < until; i++) {
          int sign = Float.floatToRawIntBits(numbers[i]) >>> 31;
          signs |= sign << i; // shifts are modulo 32
          numbers[i] -= signed(scale, sign);
        }
        message.putInt(words + (start + from) / Integer.SIZE, signs);
      }
      values.write(first + start, numbers, length);
    }
  }

  private float meanMagnitude(HostMemory values, long first, long count) {
    double sum = 0;
    for (long start = 0; start < count; start += numbers.length) {
      int length = (int) Math.min(numbers.length, count - start);
      values.read(first + start, numbers, length);
      for (int i = 0; i < length; i++) {
        sum += Math.abs(numbers[i]);
      }
    }
    return (float) (sum / Math.max(1, count));
  }

  /** {@code scale}, negative where the sign's bit is 1. */
  private static float signed(float scale, int sign) {
    return (1 - 2 * sign) * scale;
  }

  @Override
  public void decodeAdding(
      HostMemory message,
      long messageOffset,
      long capacity,
      HostMemory into,
      long first,
      long count) {
    float scale = message.getFloat(messageOffset / Float.BYTES);
    long words = messageOffset / Integer.BYTES + 1;
    for (long start = 0; start < count; start += numbers.length) {
      int length = (int) Math.min(numbers.length, count - start);
      into.read(first + start, numbers, length);
      for (int from = 0; from < length; from += Integer.SIZE) {
        int signs = message.getInt(words + (start + from) / Integer.SIZE);
        int until = Math.min(from + Integer.SIZE, length);
        for (int i = from; i < until; i++) {
          numbers[i] += signed(scale, signs >>> i & 1);
        }
      }
      into.write(first + start, numbers, length);
    }
  }
}
