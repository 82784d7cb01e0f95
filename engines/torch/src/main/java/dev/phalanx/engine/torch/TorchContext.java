package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.HostAddress;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.EnumMap;
import java.util.Map;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;

/**
 * What the groups of kernels of one engine share: our tensors as LibTorch's, numbers as its
 * scalars, and everything native that lives as long as the engine.
 */
final class TorchContext implements AutoCloseable {
  private static final int KEPT_SCALARS = 16;

  private final Map<DType, TensorOptions> options = new EnumMap<>(DType.class);
  private final Map<DType, ScalarTypeOptional> types = new EnumMap<>(DType.class);
  private final Deque<AutoCloseable> owned = new ArrayDeque<>();
  private final double[] scalarValues = new double[KEPT_SCALARS];
  private final @Nullable Scalar[] scalars = new Scalar[KEPT_SCALARS];
  private int nextScalar;
  private @Nullable Scalar retired;
  private @Nullable Thread preparedThread;
  private boolean closed;

  TorchContext() {
    for (DType dtype : DType.values()) {
      options.put(dtype, own(new TensorOptions(scalarType(dtype))));
      types.put(dtype, own(new ScalarTypeOptional(scalarType(dtype))));
    }
  }

  static ScalarType scalarType(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> ScalarType.Float;
      case BFLOAT16 -> ScalarType.BFloat16;
      case FLOAT16 -> ScalarType.Half;
      case FLOAT64 -> ScalarType.Double;
      case INT32 -> ScalarType.Int;
      case INT64 -> ScalarType.Long;
      case UINT8 -> ScalarType.Byte;
    };
  }

  /** Lets the context close this with the engine. */
  <T extends AutoCloseable> T own(T resource) {
    owned.push(resource);
    return resource;
  }

  Scratch scratch() {
    return own(new Scratch(this));
  }

  BoxedOperator operator(String name, String overload) {
    return own(new BoxedOperator(name, overload));
  }

  /** Our tensor as LibTorch's; it lives with ours, so do not close it. */
  org.bytedeco.pytorch.Tensor of(Tensor tensor) {
    return handle(tensor).tensor();
  }

  org.bytedeco.pytorch.Tensor transposed(Tensor tensor) {
    return handle(tensor).transposed();
  }

  TorchHandle handle(Tensor tensor) {
    prepareThread();
    if (tensor.engineHandle() instanceof TorchHandle handle) {
      return handle;
    }
    TorchHandle handle =
        new TorchHandle(
            torch.from_blob(
                new HostAddress(tensor.address()),
                tensor.shape().toArray(),
                tensor.strides(),
                optionsOf(tensor.dtype())));
    try {
      tensor.attachEngineHandle(handle);
    } catch (IllegalStateException e) {
      handle.close();
      throw e;
    }
    return handle;
  }

  /** A contiguous tensor over memory at an address; the caller closes it. */
  org.bytedeco.pytorch.Tensor blob(long address, DType dtype, long... sizes) {
    return torch.from_blob(new HostAddress(address), sizes, optionsOf(dtype));
  }

  /** As {@link #blob}, with strides. */
  org.bytedeco.pytorch.Tensor strided(long address, DType dtype, long[] sizes, long[] strides) {
    return torch.from_blob(new HostAddress(address), sizes, strides, optionsOf(dtype));
  }

  /** The elements of a contiguous INT64 tensor on the host. */
  static LongBuffer hostLongs(org.bytedeco.pytorch.Tensor tensor) {
    return hostBytes(tensor, Long.BYTES).asLongBuffer();
  }

  /** The elements of a contiguous FLOAT32 tensor on the host. */
  static FloatBuffer hostFloats(org.bytedeco.pytorch.Tensor tensor) {
    return hostBytes(tensor, Float.BYTES).asFloatBuffer();
  }

  private static ByteBuffer hostBytes(org.bytedeco.pytorch.Tensor tensor, int width) {
    long bytes = Math.multiplyExact(tensor.numel(), width);
    return new HostAddress(tensor.data_ptr().address(), bytes)
        .asByteBuffer()
        .order(ByteOrder.nativeOrder());
  }

  private TensorOptions optionsOf(DType dtype) {
    TensorOptions found = options.get(dtype);
    if (found == null) {
      throw new IllegalArgumentException("There is no LibTorch type for " + dtype);
    }
    return found;
  }

  ScalarTypeOptional type(DType dtype) {
    ScalarTypeOptional found = types.get(dtype);
    if (found == null) {
      throw new IllegalArgumentException("There is no LibTorch type for " + dtype);
    }
    return found;
  }

  /** A number as LibTorch wants it; it belongs to the context and lives for the next call. */
  Scalar scalar(double value) {
    for (int i = 0; i < KEPT_SCALARS; i++) {
      Scalar kept = scalars[i];
      if (kept != null
          && Double.doubleToRawLongBits(scalarValues[i]) == Double.doubleToRawLongBits(value)) {
        return kept;
      }
    }
    int place = nextScalar;
    nextScalar = (place + 1) % KEPT_SCALARS;
    // Not closed yet: the call that asks may hold it already.
    Scalar expired = retired;
    if (expired != null) {
      expired.close();
    }
    retired = scalars[place];
    Scalar made = new Scalar(value);
    scalars[place] = made;
    scalarValues[place] = value;
    return made;
  }

  /**
   * LibTorch keeps its autograd switch and the number of threads for each thread: both must be set
   * in whichever thread calls kernels.
   */
  private void prepareThread() {
    Thread current = Thread.currentThread();
    if (current != preparedThread) {
      if (closed) {
        throw new IllegalStateException("The engine 'torch' was used after it was closed");
      }
      GradMode.set_enabled(false);
      torch.init_num_threads();
      preparedThread = current;
    }
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    preparedThread = null;
    for (Scalar scalar : scalars) {
      if (scalar != null) {
        scalar.close();
      }
    }
    if (retired != null) {
      retired.close();
      retired = null;
    }
    for (AutoCloseable resource : owned) {
      try {
        resource.close();
      } catch (Exception e) {
        throw new IllegalStateException("A resource of the engine 'torch' could not be closed", e);
      }
    }
    owned.clear();
  }
}
