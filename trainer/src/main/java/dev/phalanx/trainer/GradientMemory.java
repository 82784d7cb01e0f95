package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;

/** Where gradients lie: in memory that all ranks of a host read, where there is such memory. */
final class GradientMemory {
  private GradientMemory() {}

  /**
   * All ranks call it together.
   *
   * @param elements FLOAT32
   */
  static Tensor allocate(Arena arena, Communicator dataGroup, long elements)
      throws InterruptedException {
    boolean isOnHost = arena.device().isCpu();
    return (isOnHost
            ? dataGroup.allocateShared(DType.FLOAT32.bytes(elements), arena.engine()::wrap)
            : java.util.Optional.<dev.phalanx.tensor.Storage>empty())
        .map(storage -> Tensor.over(storage, 0, DType.FLOAT32, Shape.of(elements)))
        .orElseGet(() -> arena.allocate(DType.FLOAT32, elements));
  }
}
