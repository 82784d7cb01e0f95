package dev.phalanx.tensor;

/** The element types of tensors. */
public enum DType {
  FLOAT32(4, true),
  /** The upper half of a {@link #FLOAT32}: eight bits of exponent, seven of mantissa. */
  BFLOAT16(2, true),
  FLOAT16(2, true),
  FLOAT64(8, true),
  INT32(4, false),
  INT64(8, false),
  UINT8(1, false);

  private final int byteSize;
  private final boolean floatingPoint;

  DType(int byteSize, boolean floatingPoint) {
    this.byteSize = byteSize;
    this.floatingPoint = floatingPoint;
  }

  /** Bytes of one element. */
  public int byteSize() {
    return byteSize;
  }

  public boolean isFloatingPoint() {
    return floatingPoint;
  }

  /**
   * Bytes of {@code elementCount} elements; an {@link ArithmeticException} where that is no {@code
   * long}.
   */
  public long bytes(long elementCount) {
    return Math.multiplyExact(elementCount, byteSize);
  }
}
