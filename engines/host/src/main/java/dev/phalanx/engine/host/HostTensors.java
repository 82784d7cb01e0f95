package dev.phalanx.engine.host;

import dev.phalanx.tensor.Tensor;

/** How tensors lie in the host's memory. */
public final class HostTensors {
  private HostTensors() {}

  /** The tensor itself, unless it was closed. */
  public static Tensor open(Tensor tensor) {
    if (tensor.isClosed()) {
      throw new IllegalStateException("The " + tensor + " was used after it was closed");
    }
    return tensor;
  }

  /** The distance between the rows of a matrix whose rows are dense, at least their width. */
  public static long rowStride(Tensor matrix) {
    int rank = matrix.shape().rank();
    return matrix.size(rank - 2) == 1
        ? Math.max(1, matrix.size(rank - 1))
        : matrix.stride(rank - 2);
  }
}
