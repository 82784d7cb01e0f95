package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;

/**
 * {@code into[i] = into[i] (operation) from[i]}, and division, for each type of array. Each loop
 * has one operation and nothing to choose, which the JVM needs for vector instructions. {@code
 * AVERAGE} sums.
 */
final class Arithmetic {
  private Arithmetic() {}

  static void combine(ReduceOperation operation, float[] from, float[] into, int count) {
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

  static void divide(float[] values, int divisor, int count) {
    for (int i = 0; i < count; i++) {
      values[i] /= divisor;
    }
  }

  static void combine(ReduceOperation operation, double[] from, double[] into, int count) {
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

  static void divide(double[] values, int divisor, int count) {
    for (int i = 0; i < count; i++) {
      values[i] /= divisor;
    }
  }

  static void combine(ReduceOperation operation, int[] from, int[] into, int count) {
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

  static void divide(int[] values, int divisor, int count) {
    for (int i = 0; i < count; i++) {
      values[i] /= divisor;
    }
  }

  static void combine(ReduceOperation operation, long[] from, long[] into, int count) {
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

  static void divide(long[] values, int divisor, int count) {
    for (int i = 0; i < count; i++) {
      values[i] /= divisor;
    }
  }
}
