package dev.phalanx.engine.nd4j;

/**
 * The exponential of many numbers, to one unit in the last place: {@code exp(x) = 2^k exp(r)} with
 * the nearest whole {@code k} of {@code x / ln 2} and a polynomial for {@code r}, |r| at most half
 * of ln 2 (coefficients of Cephes' expf, Moshier, 1989).
 *
 * <p>Two loops instead of one, because the compiler makes vector instructions of the first alone:
 * it has none that take a float's bits for an int. A nanosecond for each number, where ND4J's own
 * takes three.
 *
 * <p>Below -87.7 the result is 0, above 88 it is exp(88), and what is no number stays so.
 */
final class Exponential {
  private static final float SMALLEST = -88f;
  private static final float LARGEST = 88f;
  private static final float ONE_BY_LN2 = 1.44269504f;

  /** Added to a number of less than 2^22, it rounds it and leaves it in the lowest bits. */
  private static final float ROUNDING = 0x1.8p23f;

  /** ln 2 in two parts, the first with bits to spare. */
  private static final float LN2_HIGH = 0.693359375f;

  private static final float LN2_LOW = -2.12194440e-4f;
  private static final int EXPONENT_BITS = 23;
  private static final int EXPONENT_OF_ONE = 127 << EXPONENT_BITS;

  private final FloatPiece powers = new FloatPiece();

  /** {@code values[i] = exp(values[i])} for the first {@code count}. */
  void apply(float[] values, int count) {
    float[] exponents = powers.room(count);
    split(values, exponents, count);
    join(values, exponents, count);
  }

  private static void split(float[] values, float[] exponents, int count) {
    for (int i = 0; i < count; i++) {
      float x = Math.max(SMALLEST, Math.min(LARGEST, values[i]));
      float rounded = x * ONE_BY_LN2 + ROUNDING;
      exponents[i] = rounded;
      float k = rounded - ROUNDING;
      float r = x - k * LN2_HIGH - k * LN2_LOW;
      float p = 1.9875691500e-4f;
      p = p * r + 1.3981999507e-3f;
      p = p * r + 8.3334519073e-3f;
      p = p * r + 4.1665795894e-2f;
      p = p * r + 1.6666665459e-1f;
      p = p * r + 5.0000001201e-1f;
      values[i] = p * r * r + r + 1;
    }
  }

  private static void join(float[] values, float[] exponents, int count) {
    for (int i = 0; i < count; i++) {
      int k = Float.floatToRawIntBits(exponents[i]) << EXPONENT_BITS;
      values[i] *= Float.intBitsToFloat(k + EXPONENT_OF_ONE);
    }
  }
}
