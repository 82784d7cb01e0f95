package dev.phalanx.engine.nd4j;

import java.util.Arrays;

/**
 * Loops over rows in arrays. Sums and maxima run in eight lanes: the compiler may not change the
 * order of additions by itself, and one chain of them waits for each result.
 */
final class FloatRows {
  private static final int LANES = 8;

  private FloatRows() {}

  static float sum(float[] values, int start, int count) {
    float a = 0;
    float b = 0;
    float c = 0;
    float d = 0;
    float e = 0;
    float f = 0;
    float g = 0;
    float h = 0;
    int end = start + count / LANES * LANES;
    for (int i = start; i < end; i += LANES) {
      a += values[i];
      b += values[i + 1];
      c += values[i + 2];
      d += values[i + 3];
      e += values[i + 4];
      f += values[i + 5];
      g += values[i + 6];
      h += values[i + 7];
    }
    float rest = 0;
    for (int i = end; i < start + count; i++) {
      rest += values[i];
    }
    return ((a + b) + (c + d)) + ((e + f) + (g + h)) + rest;
  }

  /** The sum of {@code x[i] y[i]}. */
  static float dot(float[] x, int xStart, float[] y, int yStart, int count) {
    float a = 0;
    float b = 0;
    float c = 0;
    float d = 0;
    float e = 0;
    float f = 0;
    float g = 0;
    float h = 0;
    int end = count / LANES * LANES;
    for (int i = 0; i < end; i += LANES) {
      a += x[xStart + i] * y[yStart + i];
      b += x[xStart + i + 1] * y[yStart + i + 1];
      c += x[xStart + i + 2] * y[yStart + i + 2];
      d += x[xStart + i + 3] * y[yStart + i + 3];
      e += x[xStart + i + 4] * y[yStart + i + 4];
      f += x[xStart + i + 5] * y[yStart + i + 5];
      g += x[xStart + i + 6] * y[yStart + i + 6];
      h += x[xStart + i + 7] * y[yStart + i + 7];
    }
    float rest = 0;
    for (int i = end; i < count; i++) {
      rest += x[xStart + i] * y[yStart + i];
    }
    return ((a + b) + (c + d)) + ((e + f) + (g + h)) + rest;
  }

  /** The largest; what is no number is passed over. */
  static float largest(float[] values, int start, int count) {
    float a = Float.NEGATIVE_INFINITY;
    float b = a;
    float c = a;
    float d = a;
    float e = a;
    float f = a;
    float g = a;
    float h = a;
    int end = start + count / LANES * LANES;
    for (int i = start; i < end; i += LANES) {
      a = larger(values[i], a);
      b = larger(values[i + 1], b);
      c = larger(values[i + 2], c);
      d = larger(values[i + 3], d);
      e = larger(values[i + 4], e);
      f = larger(values[i + 5], f);
      g = larger(values[i + 6], g);
      h = larger(values[i + 7], h);
    }
    for (int i = end; i < start + count; i++) {
      a = larger(values[i], a);
    }
    return larger(larger(larger(a, b), larger(c, d)), larger(larger(e, f), larger(g, h)));
  }

  /** Twice as fast as {@link Math#max}, which asks after NaN and the sign of nought. */
  private static float larger(float value, float present) {
    return value > present ? value : present;
  }

  /** {@code to[i] += from[i]}. */
  static void add(float[] from, float[] to, int count) {
    for (int i = 0; i < count; i++) {
      to[i] += from[i];
    }
  }

  /** {@code values[i] *= factors[i]}. */
  static void multiply(float[] values, float[] factors, int count) {
    for (int i = 0; i < count; i++) {
      values[i] *= factors[i];
    }
  }

  /** {@code values[i] -= amount} from {@code start}. */
  static void subtract(float[] values, int start, int count, float amount) {
    for (int i = start; i < start + count; i++) {
      values[i] -= amount;
    }
  }

  /** {@code values[i] *= factor} from {@code start}. */
  static void scale(float[] values, int start, int count, float factor) {
    for (int i = start; i < start + count; i++) {
      values[i] *= factor;
    }
  }

  static void clear(float[] values, int count) {
    Arrays.fill(values, 0, count, 0);
  }
}
