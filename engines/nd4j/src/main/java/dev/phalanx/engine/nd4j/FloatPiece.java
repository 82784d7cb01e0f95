package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.FloatAddress;

/**
 * A piece of FLOAT32 memory in a Java array, for a loop to work on: the compiler uses vector
 * instructions on arrays, not on memory outside of the heap, and the copies there and back cost a
 * tenth of a nanosecond for each number. The array grows to the largest piece.
 *
 * <p>In such a loop all arrays have the same index: of two places that differ by more than a
 * constant the compiler cannot tell whether they are one, and gives up. What belongs to each row
 * alike is therefore written once for each row of a piece ({@link #tile}).
 */
final class FloatPiece {
  /** Numbers of a piece that lies in the first cache beside a few others. */
  static final int SIZE = 2048;

  private final FloatAddress place = new FloatAddress();
  private float[] values = {};

  /** Room for {@code count} numbers, whatever they are. */
  float[] room(int count) {
    if (values.length < count) {
      values = new float[Math.max(count, SIZE)];
    }
    return values;
  }

  /** The numbers at an address. */
  float[] read(long address, int count) {
    float[] array = room(count);
    place.moveTo(address).get(array, 0, count);
    return array;
  }

  /** The row at an address, {@code rows} times one behind the other. */
  float[] tile(long address, int width, int rows) {
    room(rows * width);
    read(address, width);
    return repeat(width, rows);
  }

  /** The first {@code width} numbers, {@code rows} times one behind the other. */
  float[] repeat(int width, int rows) {
    float[] array = room(rows * width);
    for (int row = 1; row < rows; row++) {
      System.arraycopy(array, 0, array, row * width, width);
    }
    return array;
  }

  /** Adds the other rows of a piece to its first. */
  void foldRows(int width, int rows) {
    for (int row = 1; row < rows; row++) {
      for (int i = 0; i < width; i++) {
        values[i] += values[row * width + i];
      }
    }
  }

  /** Puts the first {@code count} numbers at an address. */
  void write(long address, int count) {
    place.moveTo(address).put(values, 0, count);
  }

  /** Rows that lie {@code stride} numbers apart, one behind the other in the array. */
  float[] readRows(long address, int rows, int width, long stride) {
    if (stride == width || rows == 1) {
      return read(address, rows * width);
    }
    float[] array = room(rows * width);
    for (int row = 0; row < rows; row++) {
      place.moveTo(address + Float.BYTES * row * stride).get(array, row * width, width);
    }
    return array;
  }

  /** The inverse of {@link #readRows}. */
  void writeRows(long address, int rows, int width, long stride) {
    if (stride == width || rows == 1) {
      write(address, rows * width);
      return;
    }
    for (int row = 0; row < rows; row++) {
      place.moveTo(address + Float.BYTES * row * stride).put(values, row * width, width);
    }
  }

  /** Rows of this width that make up a piece, at least one. */
  static int rowsOf(long width) {
    return (int) Math.max(1, SIZE / Math.max(1, width));
  }
}
