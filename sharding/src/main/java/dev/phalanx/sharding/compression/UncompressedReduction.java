package dev.phalanx.sharding.compression;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import java.util.Map;

/** The sum in full precision, for warm-ups. */
final class UncompressedReduction extends BucketReduction {
  UncompressedReduction(Arena arena, Communicator communicator, long elementCount) {
    super(arena, communicator, elementCount);
  }

  @Override
  void encode(Tensor gradients, long step) {
    synchronize();
    allReduce(gradients);
  }

  @Override
  void decode(Tensor gradients) throws InterruptedException {
    await();
  }

  @Override
  List<Tensor> residuals() {
    return List.of();
  }

  @Override
  public Map<String, Tensor> state() {
    return Map.of();
  }
}
