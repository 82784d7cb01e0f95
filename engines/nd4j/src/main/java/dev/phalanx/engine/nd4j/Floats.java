package dev.phalanx.engine.nd4j;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;

/** Where the tensors of a call lie. */
final class Floats {
  private Floats() {}

  /** The address of a FLOAT32 tensor: the one type that this engine's kernels compute in. */
  static long address(String kernel, Tensor tensor) {
    if (tensor.dtype() != DType.FLOAT32) {
      throw new IllegalArgumentException(
          kernel + " was given a " + tensor + "; the engine 'nd4j' computes in FLOAT32 alone");
    }
    return open(tensor).address();
  }

  static Tensor open(Tensor tensor) {
    if (tensor.isClosed()) {
      throw new IllegalStateException("The " + tensor + " was used after it was closed");
    }
    return tensor;
  }

  /** The distance between the rows of a matrix whose rows are dense, at least their width. */
  static long rowStride(Tensor matrix) {
    int rank = matrix.shape().rank();
    return matrix.size(rank - 2) == 1
        ? Math.max(1, matrix.size(rank - 1))
        : matrix.stride(rank - 2);
  }

  /** Addresses move by elements. */
  static long at(long address, long element) {
    return address + Float.BYTES * element;
  }
}
