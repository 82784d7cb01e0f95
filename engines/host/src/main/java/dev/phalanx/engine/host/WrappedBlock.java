package dev.phalanx.engine.host;

import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Storage;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.Pointer;

/** The memory of a direct buffer, which stays reachable as long as this block is. */
public final class WrappedBlock implements Storage {
  private final ByteBuffer buffer;
  private final long address;

  public WrappedBlock(ByteBuffer direct) {
    if (!direct.isDirect()) {
      throw new IllegalArgumentException("wrap needs a direct buffer, not one on the Java heap");
    }
    this.buffer = direct.duplicate();
    try (Pointer start = new Pointer(direct)) {
      this.address = start.address() + direct.position();
    }
  }

  @Override
  public Device device() {
    return Device.CPU;
  }

  @Override
  public long byteSize() {
    return buffer.remaining();
  }

  @Override
  public long address() {
    return address;
  }

  @Override
  public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
    return buffer
        .slice(buffer.position() + Math.toIntExact(byteOffset), byteCount)
        .order(ByteOrder.nativeOrder());
  }

  /** The buffer's owner frees it. */
  @Override
  public void free() {}
}
