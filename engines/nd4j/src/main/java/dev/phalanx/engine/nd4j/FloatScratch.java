package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.HostBlock;
import org.jspecify.annotations.Nullable;

/**
 * Native working memory of one use: grows to the largest size asked for, which its user bounds, and
 * stays until the engine is closed.
 */
final class FloatScratch implements AutoCloseable {
  private @Nullable HostBlock block;

  /** Room for so many FLOAT32, their content anything: its address. */
  long get(long elements) {
    long bytes = Math.max(1, Math.multiplyExact(elements, Float.BYTES));
    HostBlock present = block;
    if (present == null || present.byteSize() < bytes) {
      if (present != null) {
        block = null; // the allocation may fail
        present.free();
      }
      present = HostMemory.allocate(bytes);
      block = present;
    }
    return present.address();
  }

  @Override
  public void close() {
    if (block != null) {
      block.free();
      block = null;
    }
  }
}
