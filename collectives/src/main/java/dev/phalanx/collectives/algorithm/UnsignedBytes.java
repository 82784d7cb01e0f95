package dev.phalanx.collectives.algorithm;

import java.nio.ByteBuffer;

/**
 * Elements of UINT8 as numbers from 0 to 255. What is written keeps its lowest eight bits, so that
 * sums wrap modulo 256. One thread at a time.
 */
final class UnsignedBytes {
  private final byte[] bytes;

  /**
   * @param length the most elements that are copied at once
   */
  UnsignedBytes(int length) {
    this.bytes = new byte[length];
  }

  void read(ByteBuffer from, int index, int[] into, int count) {
    from.get(index, bytes, 0, count);
    for (int i = 0; i < count; i++) {
      into[i] = bytes[i] & 0xff;
    }
  }

  void write(ByteBuffer into, int index, int[] from, int count) {
    for (int i = 0; i < count; i++) {
      bytes[i] = (byte) from[i];
    }
    into.put(index, bytes, 0, count);
  }
}
