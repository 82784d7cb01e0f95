package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.HostBlock;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.OutOfNativeMemoryException;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;

/**
 * Memory from LibTorch's own allocator: aligned to 64 bytes, and given in huge pages where the
 * environment variable {@code THP_MEM_ALLOC_ENABLE=1} asks LibTorch for them.
 */
final class TorchMemory {
  private TorchMemory() {}

  static HostBlock allocate(long byteSize) {
    try (var options = new TensorOptions(torch.ScalarType.Byte);
        var format = new MemoryFormatOptional()) {
      Tensor bytes = torch.empty(new long[] {byteSize}, options, format);
      return new HostBlock(bytes.data_ptr().address(), byteSize, bytes::close);
    } catch (RuntimeException e) {
      throw new OutOfNativeMemoryException(Device.CPU, byteSize, e);
    }
  }
}
