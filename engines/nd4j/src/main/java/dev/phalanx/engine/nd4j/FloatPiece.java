package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.FloatAddress;

/**
 * A piece of FLOAT32 memory in a Java array, for a loop to work on: the compiler uses vector
 * instructions on arrays, not on memory outside of the heap, and the copies there and back cost a
 * tenth of a nanosecond for each number. The array grows to the largest piece.
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
