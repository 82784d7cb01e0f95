package dev.phalanx.sharding.compression;

import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;

/**
 * The memory of a contiguous tensor on the host as floats, ints or bytes, at places that no single
 * buffer reaches too.
 *
 * <p>Loops over many elements copy blocks to arrays and back: the JVM turns loops over arrays into
 * vector instructions, and loops over buffers of native memory not always.
 */
final class HostMemory {
  /** Elements of a block that loops work on: it stays in the first cache level. */
  static final int BLOCK = 1024;

  private static final int SEGMENT_BYTES_EXPONENT = 30;

  private final int segmentBytesExponent;
  private final ByteBuffer[] bytes;
  private final FloatBuffer[] floats;
  private final IntBuffer[] ints;

  HostMemory(Tensor tensor) {
    this(tensor, SEGMENT_BYTES_EXPONENT);
  }

  /**
   * @param segmentBytesExponent of two: bytes that one buffer reaches, at least 4
   */
  HostMemory(Tensor tensor, int segmentBytesExponent) {
    this.segmentBytesExponent = segmentBytesExponent;
    long segmentBytes = 1L << segmentBytesExponent;
    int segments = Math.toIntExact((tensor.byteSize() + segmentBytes - 1) / segmentBytes);
    this.bytes = new ByteBuffer[segments];
    this.floats = new FloatBuffer[segments];
    this.ints = new IntBuffer[segments];
    for (int i = 0; i < segments; i++) {
      long first = i * segmentBytes;
      bytes[i] = tensor.byteBuffer(first, (int) Math.min(segmentBytes, tensor.byteSize() - first));
      floats[i] = bytes[i].asFloatBuffer();
      ints[i] = bytes[i].asIntBuffer();
    }
  }

  /** Copies floats from number {@code first} on into the first of an array. */
  void read(long first, float[] into, int count) {
    for (int done = 0; done < count; ) {
      FloatBuffer segment = floats[segment(first + done, Float.BYTES)];
      int offset = offset(first + done, Float.BYTES);
      int length = Math.min(count - done, segment.limit() - offset);
      segment.get(offset, into, done, length);
      done += length;
    }
  }

  /** The inverse of {@link #read(long, float[], int)}. */
  void write(long first, float[] from, int count) {
    for (int done = 0; done < count; ) {
      FloatBuffer segment = floats[segment(first + done, Float.BYTES)];
      int offset = offset(first + done, Float.BYTES);
      int length = Math.min(count - done, segment.limit() - offset);
      segment.put(offset, from, done, length);
      done += length;
    }
  }

  /** Copies bytes from number {@code first} on into the first of an array. */
  void read(long first, byte[] into, int count) {
    for (int done = 0; done < count; ) {
      ByteBuffer segment = bytes[segment(first + done, Byte.BYTES)];
      int offset = offset(first + done, Byte.BYTES);
      int length = Math.min(count - done, segment.limit() - offset);
      segment.get(offset, into, done, length);
      done += length;
    }
  }

  /** The inverse of {@link #read(long, byte[], int)}. */
  void write(long first, byte[] from, int count) {
    for (int done = 0; done < count; ) {
      ByteBuffer segment = bytes[segment(first + done, Byte.BYTES)];
      int offset = offset(first + done, Byte.BYTES);
      int length = Math.min(count - done, segment.limit() - offset);
      segment.put(offset, from, done, length);
      done += length;
    }
  }

  /** Float number {@code index}. */
  float getFloat(long index) {
    return floats[segment(index, Float.BYTES)].get(offset(index, Float.BYTES));
  }

  void putFloat(long index, float value) {
    floats[segment(index, Float.BYTES)].put(offset(index, Float.BYTES), value);
  }

  /** Int number {@code index}. */
  int getInt(long index) {
    return ints[segment(index, Integer.BYTES)].get(offset(index, Integer.BYTES));
  }

  void putInt(long index, int value) {
    ints[segment(index, Integer.BYTES)].put(offset(index, Integer.BYTES), value);
  }

  private int segment(long index, int elementBytes) {
    return (int) ((index * elementBytes) >> segmentBytesExponent);
  }

  private int offset(long index, int elementBytes) {
    return (int) (index * elementBytes & ((1L << segmentBytesExponent) - 1)) / elementBytes;
  }
}
