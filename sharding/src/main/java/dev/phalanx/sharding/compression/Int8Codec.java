package dev.phalanx.sharding.compression;

/**
 * Blocks of numbers as whole numbers from -127 to 127 times the block's own scale, its largest
 * magnitude / 127 (Dettmers, 2016, "8-Bit Approximations for Parallelism in Deep Learning"; in
 * blocks as in Wang et al., 2023, "ZeRO++"). Numbers are rounded to the nearest.
 *
 * <pre>
 *   | scales, FLOAT32 | numbers, a byte each | up to 3 bytes that make it a multiple of four |
 * </pre>
 *
 * <p>1 + 4 / block bytes an element.
 */
final class Int8Codec implements PartCodec {
  private static final int LARGEST = 127;

  /**
   * Added and taken away again it leaves a small number rounded to a whole one, for the last place
   * of a FLOAT32 of this size is one.
   */
  private static final float ROUNDING = 0x1.8p23f;

  private final int block;
  private final float[] numbers;
  private final byte[] quantized;

  /**
   * @param block elements that share a scale
   * @param elementCount the most that a part has
   */
  Int8Codec(int block, long elementCount) {
    int longest = (int) Math.min(block, elementCount);
    this.block = block;
    this.numbers = new float[longest];
    this.quantized = new byte[longest];
  }

  @Override
  public long messageBytes(long elements) {
    return scaleBytes(elements) + (elements + 3) / 4 * 4;
  }

  private long scaleBytes(long elements) {
    return (elements + block - 1) / block * Float.BYTES;
  }

  @Override
  public void encode(
      HostMemory values,
      long first,
      long count,
      HostMemory message,
      long messageOffset,
      long capacity) {
    long bytes = messageOffset + scaleBytes(capacity);
    for (long start = 0; start < count; start += block) {
      int length = (int) Math.min(block, count - start);
      values.read(first + start, numbers, length);
      float scale = scale(length);
      float inverse = scale == 0 ? 0 : 1 / scale;
      for (int i = 0; i < length; i++) {
        float rounded = numbers[i] * inverse + ROUNDING - ROUNDING;
        quantized[i] = (byte) (int) rounded;
        numbers[i] -= rounded * scale;
      }
      message.putFloat(messageOffset / Float.BYTES + start / block, scale);
      message.write(bytes + start, quantized, length);
      values.write(first + start, numbers, length);
    }
  }

  /** Of the block in {@link #numbers}; 0 where all are too small to be divided by it. */
  private float scale(int length) {
    float largest = 0;
    for (int i = 0; i < length; i++) {
      largest = Math.max(largest, Math.abs(numbers[i]));
    }
    float scale = largest / LARGEST;
    return scale < Float.MIN_NORMAL ? 0 : scale;
  }

  @Override
  public void decodeAdding(
      HostMemory message,
      long messageOffset,
      long capacity,
      HostMemory into,
      long first,
      long count) {
    long bytes = messageOffset + scaleBytes(capacity);
    for (long start = 0; start < count; start += block) {
      int length = (int) Math.min(block, count - start);
      float scale = message.getFloat(messageOffset / Float.BYTES + start / block);
      message.read(bytes + start, quantized, length);
      into.read(first + start, numbers, length);
      for (int i = 0; i < length; i++) {
        numbers[i] += quantized[i] * scale;
      }
      into.write(first + start, numbers, length);
    }
  }
}
