package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.HostBlock;
import dev.phalanx.tensor.DType;
import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Working memory of one use: grows to the largest size asked for, which its user bounds, and stays
 * until the engine is closed. The tensor of the last shape is kept, since calls repeat shapes.
 */
final class Scratch implements AutoCloseable {
  private final TorchContext context;
  private @Nullable HostBlock block;
  private @Nullable Tensor tensor;
  private DType dtype = DType.UINT8;
  private long[] sizes = {};
  private long rowStride;

  Scratch(TorchContext context) {
    this.context = context;
  }

  /** A tensor of this shape, its content anything. It belongs to the scratch: do not close it. */
  Tensor get(DType wanted, long... shape) {
    return getRows(wanted, shape.length == 0 ? 1 : shape[shape.length - 1], shape);
  }

  /** Likewise, its rows {@code stride} elements apart. */
  Tensor getRows(DType wanted, long stride, long... shape) {
    Tensor present = tensor;
    if (present != null && dtype == wanted && rowStride == stride && Arrays.equals(sizes, shape)) {
      return present;
    }
    if (present != null) {
      tensor = null; // what comes may fail
      present.close();
    }
    long[] strides = new long[shape.length];
    long count = 1;
    for (int i = shape.length - 1; i >= 0; i--) {
      strides[i] = count;
      count = Math.multiplyExact(count, i == shape.length - 1 ? stride : shape[i]);
    }
    present = context.strided(roomFor(Math.max(1, wanted.bytes(count))), wanted, shape, strides);
    tensor = present;
    dtype = wanted;
    sizes = shape.clone();
    rowStride = stride;
    return present;
  }

  private long roomFor(long bytes) {
    HostBlock present = block;
    if (present == null || present.byteSize() < bytes) {
      if (present != null) {
        block = null; // see above
        present.free();
      }
      present = TorchMemory.allocate(bytes);
      block = present;
    }
    return present.address();
  }

  @Override
  public void close() {
    if (tensor != null) {
      tensor.close();
      tensor = null;
    }
    if (block != null) {
      block.free();
      block = null;
    }
  }
}
