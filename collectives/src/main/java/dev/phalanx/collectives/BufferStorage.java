package dev.phalanx.collectives;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A little memory of the collectives' own, which needs no engine. Its address tells its own parts
 * from each other, and nothing more.
 */
record BufferStorage(ByteBuffer buffer) implements Storage {
  static Tensor integers(int count) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(count * Integer.BYTES);
    return Tensor.over(new BufferStorage(buffer), 0, DType.INT32, Shape.of(count));
  }

  static Tensor longs(int count) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(count * Long.BYTES);
    return Tensor.over(new BufferStorage(buffer), 0, DType.INT64, Shape.of(count));
  }

  @Override
  public Device device() {
    return Device.CPU;
  }

  @Override
  public long byteSize() {
    return buffer.capacity();
  }

  @Override
  public long address() {
    return 0;
  }

  @Override
  public ByteBuffer byteBuffer(long byteOffset, int byteCount) {
    return buffer.slice((int) byteOffset, byteCount).order(ByteOrder.nativeOrder());
  }

  @Override
  public void free() {}
}
