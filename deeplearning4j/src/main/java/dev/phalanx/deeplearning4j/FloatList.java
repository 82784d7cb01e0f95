package dev.phalanx.deeplearning4j;

import java.util.Arrays;

/** Floats whose number is not known before. */
final class FloatList {
  /** What an array can hold. */
  static final int MOST = Integer.MAX_VALUE - 8;

  private float[] elements = new float[1024];
  private int count;

  /** False where no array could hold it. */
  boolean add(float element) {
    if (count == elements.length) {
      if (count == MOST) {
        return false;
      }
      elements = Arrays.copyOf(elements, (int) Math.min(MOST, count + (long) count / 2));
    }
    elements[count++] = element;
    return true;
  }

  float[] toArray() {
    return Arrays.copyOf(elements, count);
  }
}
