package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.HostTensors;
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
    return HostTensors.open(tensor).address();
  }

  /** Addresses move by elements. */
  static long at(long address, long element) {
    return address + Float.BYTES * element;
  }
}
