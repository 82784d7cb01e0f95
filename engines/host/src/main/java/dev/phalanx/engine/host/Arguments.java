package dev.phalanx.engine.host;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Checks of the kernels' arguments; each failure names the kernel and what it was given. */
public final class Arguments {
  private Arguments() {}

  /** The exception for shapes that do not fit: what is wanted, and what was given. */
  public static IllegalArgumentException unfit(
      String kernel, String wanted, @Nullable Tensor... tensors) {
    return new IllegalArgumentException(
        kernel
            + " wants "
            + wanted
            + ", not "
            + Arrays.stream(tensors)
                .map(tensor -> tensor == null ? "none" : tensor.toString())
                .collect(Collectors.joining(", ")));
  }

  /** All on the CPU and of one floating-point type. */
  public static void floating(String kernel, Tensor first, Tensor... others) {
    onCpu(kernel, first);
    if (!first.dtype().isFloatingPoint()) {
      throw unfit(kernel, "a floating-point tensor", first);
    }
    for (Tensor other : others) {
      onCpu(kernel, other);
      if (other.dtype() != first.dtype()) {
        throw unfit(kernel, "tensors of one type", first, other);
      }
    }
  }

  /** {@code wide} has the type of {@code narrow}, or is FLOAT32 above one of half its width. */
  public static void sameOrWider(String kernel, Tensor narrow, Tensor wide) {
    onCpu(kernel, wide);
    boolean isHalf = narrow.dtype() == DType.BFLOAT16 || narrow.dtype() == DType.FLOAT16;
    boolean wider = isHalf && wide.dtype() == DType.FLOAT32;
    if (wide.dtype() != narrow.dtype() && !wider) {
      throw unfit(
          kernel, "a result of its factors' type, or FLOAT32 of BFLOAT16 or FLOAT16", narrow, wide);
    }
  }

  public static void type(String kernel, DType dtype, Tensor tensor) {
    onCpu(kernel, tensor);
    if (tensor.dtype() != dtype) {
      throw unfit(kernel, "a " + dtype + " tensor", tensor);
    }
  }

  public static void contiguous(String kernel, Tensor... tensors) {
    for (Tensor tensor : tensors) {
      if (!tensor.isContiguous()) {
        throw new IllegalArgumentException(
            kernel
                + " wants contiguous tensors, not the "
                + tensor
                + " with strides "
                + Arrays.toString(tensor.strides()));
      }
    }
  }

  /** Elements of the innermost dimension lie side by side; rows may be apart. */
  public static void denseRows(String kernel, Tensor... tensors) {
    for (Tensor tensor : tensors) {
      if (tensor.shape().rank() > 0
          && tensor.elementCount() > 0
          && tensor.size(-1) > 1
          && tensor.stride(-1) != 1) {
        throw new IllegalArgumentException(
            kernel
                + " wants an innermost stride of 1, not the "
                + tensor
                + " with strides "
                + Arrays.toString(tensor.strides()));
      }
    }
  }

  public static void sameShape(String kernel, Tensor first, Tensor... others) {
    for (Tensor other : others) {
      if (!first.shape().equals(other.shape())) {
        throw unfit(kernel, "tensors of one shape", first, other);
      }
    }
  }

  /** Floating-point, contiguous, of one type and one shape: what element-wise kernels want. */
  public static void alike(String kernel, Tensor first, Tensor... others) {
    floating(kernel, first, others);
    sameShape(kernel, first, others);
    contiguous(kernel, first);
    contiguous(kernel, others);
  }

  public static boolean isVector(Tensor tensor, long size) {
    return tensor.shape().rank() == 1 && tensor.size(0) == size;
  }

  public static boolean isMatrix(Tensor tensor, long rows, long columns) {
    return tensor.shape().rank() == 2 && tensor.size(0) == rows && tensor.size(1) == columns;
  }

  public static void onCpu(String kernel, Tensor tensor) {
    if (!tensor.device().isCpu()) {
      throw new IllegalArgumentException(
          kernel + " was given a " + tensor + "; this engine computes on cpu");
    }
  }
}
