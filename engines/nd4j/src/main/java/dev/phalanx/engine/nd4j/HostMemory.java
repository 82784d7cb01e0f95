package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.HostAddress;
import dev.phalanx.engine.host.HostBlock;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.OutOfNativeMemoryException;
import org.bytedeco.javacpp.Pointer;

/** Memory of the C library, aligned to 64 bytes; ND4J's own allocator aligns to 16. */
final class HostMemory {
  private static final long ALIGNMENT = 64;

  private HostMemory() {}

  static HostBlock allocate(long byteSize) {
    Pointer start = Pointer.malloc(Math.addExact(byteSize, ALIGNMENT));
    if (start == null || start.isNull()) {
      throw new OutOfNativeMemoryException(
          Device.CPU, byteSize, new OutOfMemoryError("the system's allocator gave nothing"));
    }
    long address = (start.address() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    long block = start.address();
    return new HostBlock(address, byteSize, () -> Pointer.free(new HostAddress(block)));
  }
}
