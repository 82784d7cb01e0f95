package dev.phalanx.tensor;

import java.nio.ByteBuffer;

/**
 * A block of one device's memory, made by {@link Engine#allocate} or {@link Engine#wrap}. An {@link
 * Arena} owns it and alone calls {@link #free}.
 */
public interface Storage {
  Device device();

  long byteSize();

  /** Where the block begins in its device's address space. */
  long address();

  /**
   * A buffer over a part of the block, without a copy, in the byte order of the host. It must not
   * be used after the block is freed.
   *
   * @throws UnsupportedOperationException where the host cannot address the memory
   */
  ByteBuffer byteBuffer(long byteOffset, int byteCount);

  /** Gives the memory back. Calling it again does nothing. */
  void free();
}
