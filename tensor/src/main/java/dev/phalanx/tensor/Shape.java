package dev.phalanx.tensor;

import java.util.Arrays;

/**
 * The sizes of a tensor's dimensions, outermost first. A shape without dimensions is a scalar's: it
 * has one element.
 */
public final class Shape {
  private static final Shape SCALAR = new Shape(new long[0]);

  private final long[] sizes;
  private final long elementCount;

  private Shape(long[] sizes) {
    this.sizes = sizes;
    long count = 1;
    for (long size : sizes) {
      if (size < 0) {
        throw new IllegalArgumentException(
            "Shape " + Arrays.toString(sizes) + " has a negative size");
      }
      count = Math.multiplyExact(count, size);
    }
    this.elementCount = count;
  }

  public static Shape of(long... sizes) {
    return sizes.length == 0 ? SCALAR : new Shape(sizes.clone());
  }

  /** The number of dimensions. */
  public int rank() {
    return sizes.length;
  }

  /** The size of a dimension; a negative number counts from the innermost, which is -1. */
  public long size(int dimension) {
    return sizes[normalize(dimension)];
  }

  /** The product of all sizes. */
  public long elementCount() {
    return elementCount;
  }

  public long[] toArray() {
    return sizes.clone();
  }

  /** This shape with one size exchanged. */
  public Shape with(int dimension, long size) {
    long[] changed = sizes.clone();
    changed[normalize(dimension)] = size;
    return new Shape(changed);
  }

  /** A dimension's number counted from the outermost, for one that may be negative. */
  public int normalize(int dimension) {
    int normalized = dimension < 0 ? dimension + sizes.length : dimension;
    if (normalized < 0 || normalized >= sizes.length) {
      throw new IndexOutOfBoundsException(
          "Dimension " + dimension + " is not one of shape " + this);
    }
    return normalized;
  }

  /**
   * The strides, in elements, of a tensor of this shape that lies in memory row by row without
   * gaps.
   */
  public long[] contiguousStrides() {
    long[] strides = new long[sizes.length];
    long stride = 1;
    for (int i = sizes.length - 1; i >= 0; i--) {
      strides[i] = stride;
      stride *= Math.max(1, sizes[i]);
    }
    return strides;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape shape && Arrays.equals(sizes, shape.sizes);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(sizes);
  }

  @Override
  public String toString() {
    return Arrays.toString(sizes);
  }
}
