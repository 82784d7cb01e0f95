package dev.phalanx.engine.host;

import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Storage;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A block of host memory from a native allocator. */
public final class HostBlock implements Storage {
  private final long address;
  private final long byteSize;
  private final Runnable release;
  private boolean freed;

  /**
   * @param address a multiple of 64
   * @param release gives the memory back to where it is from; called once
   */
  public HostBlock(long address, long byteSize, Runnable release) {
    this.address = address;
    this.byteSize = byteSize;
    this.release = release;
  }

  @Override
  public Device device() {
    return Device.CPU;
  }

  @Override
  public long byteSize() {
    return byteSize;
  }

  @Override
  public long address() {
    return address;
  }

  @Override
  public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
    if (freed) {
      throw new IllegalStateException("A block of " + byteSize + " bytes was used after its end");
    }
    if (byteOffset < 0 || byteCount < 0 || byteOffset > byteSize - byteCount) {
      throw new IndexOutOfBoundsException(
          byteCount + " bytes from byte " + byteOffset + " of a block of " + byteSize);
    }
    if (byteCount == 0) {
      return ByteBuffer.allocateDirect(0).order(ByteOrder.nativeOrder());
    }
    return new HostAddress(address + byteOffset, byteCount)
        .asByteBuffer()
        .order(ByteOrder.nativeOrder());
  }

  @Override
  public void free() {
    if (!freed) {
      freed = true;
      release.run();
    }
  }
}
