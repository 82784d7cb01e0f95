package dev.phalanx.engine.torch;

import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.OutOfNativeMemoryException;
import dev.phalanx.tensor.Storage;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/**
 * Memory from LibTorch's own allocator: aligned to 64 bytes, and given in huge pages where the
 * environment variable {@code THP_MEM_ALLOC_ENABLE=1} asks LibTorch for them.
 */
final class HostBlock implements Storage {
  private final Tensor bytes;
  private final long address;
  private final long byteSize;
  private boolean freed;

  private HostBlock(Tensor bytes, long byteSize) {
    this.bytes = bytes;
    this.address = bytes.data_ptr().address();
    this.byteSize = byteSize;
  }

  static HostBlock allocate(long byteSize) {
    try (var options = new TensorOptions(torch.ScalarType.Byte);
        var format = new MemoryFormatOptional()) {
      return new HostBlock(torch.empty(new long[] {byteSize}, options, format), byteSize);
    } catch (RuntimeException e) {
      throw new OutOfNativeMemoryException(Device.CPU, byteSize, e);
    }
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
      bytes.close();
    }
  }
}
