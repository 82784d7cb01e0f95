package dev.phalanx.sharding.compression;

import dev.phalanx.tensor.CounterRandom;

/**
 * Makes rows of a matrix orthonormal by the modified Gram-Schmidt process, each row twice (Giraud,
 * Langou and Rozložník, 2005, "The loss of orthogonality in the Gram-Schmidt orthogonalization
 * process": twice is enough).
 *
 * <p>A row that is a sum of those before it, up to rounding, is replaced by a random one, so that
 * there are always as many directions as rows. Plain Java in a fixed order: the same numbers give
 * the same bits on every machine, whatever its vector instructions. One thread at a time.
 */
final class GramSchmidt {
  /** A row of which less than this is left has no direction of its own. */
  private static final double SMALLEST_PART = 1e-4;

  private final float[] row = new float[HostMemory.BLOCK];
  private final float[] other = new float[HostMemory.BLOCK];

  /**
   * @param first where the matrix begins
   * @param rows at most {@code length}
   * @param seed of random rows
   */
  void orthonormalize(HostMemory matrix, long first, int rows, long length, long seed) {
    for (int i = 0; i < rows; i++) {
      long start = first + i * length;
      double before = norm(matrix, start, length);
      projectOut(matrix, first, i, length);
      if (norm(matrix, start, length) <= SMALLEST_PART * before) { // of zeros, 0 <= 0
        fillRandom(matrix, start, length, seed + i);
        projectOut(matrix, first, i, length);
      }
      projectOut(matrix, first, i, length);
      divide(matrix, start, norm(matrix, start, length), length);
    }
  }

  /** Takes what lies in the direction of the rows before it from row number {@code index}. */
  private void projectOut(HostMemory matrix, long first, int index, long length) {
    long start = first + index * length;
    for (int before = 0; before < index; before++) {
      long beforeStart = first + before * length;
      double product = product(matrix, start, beforeStart, length);
      addMultiple(matrix, start, -product, beforeStart, length);
    }
  }

  private double norm(HostMemory matrix, long start, long length) {
    return Math.sqrt(product(matrix, start, start, length));
  }

  private double product(HostMemory matrix, long start, long otherStart, long length) {
    double sum = 0;
    for (long done = 0; done < length; done += row.length) {
      int count = (int) Math.min(row.length, length - done);
      matrix.read(start + done, row, count);
      matrix.read(otherStart + done, other, count);
      for (int i = 0; i < count; i++) {
        sum += (double) row[i] * other[i];
      }
    }
    return sum;
  }

  private void addMultiple(
      HostMemory matrix, long start, double factor, long otherStart, long length) {
    for (long done = 0; done < length; done += row.length) {
      int count = (int) Math.min(row.length, length - done);
      matrix.read(start + done, row, count);
      matrix.read(otherStart + done, other, count);
      for (int i = 0; i < count; i++) {
        row[i] = (float) (row[i] + factor * other[i]);
      }
      matrix.write(start + done, row, count);
    }
  }

  private void divide(HostMemory matrix, long start, double divisor, long length) {
    for (long done = 0; done < length; done += row.length) {
      int count = (int) Math.min(row.length, length - done);
      matrix.read(start + done, row, count);
      for (int i = 0; i < count; i++) {
        row[i] = (float) (row[i] / divisor);
      }
      matrix.write(start + done, row, count);
    }
  }

  private static void fillRandom(HostMemory matrix, long start, long length, long seed) {
    for (long i = 0; i < length; i++) {
      matrix.putFloat(start + i, (float) CounterRandom.normal(seed, i));
    }
  }
}
