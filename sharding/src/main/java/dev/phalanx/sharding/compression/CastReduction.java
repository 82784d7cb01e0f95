package dev.phalanx.sharding.compression;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import java.util.Map;

/**
 * Gradients summed in a type of 16 bits (Micikevicius et al., 2018, "Mixed Precision Training", for
 * FLOAT16; Kalamkar et al., 2019, "A Study of BFLOAT16 for Deep Learning Training").
 *
 * <p>Each gradient is rounded once by the cast; then the communicator adds in FLOAT32 and rounds
 * every sum of two, so a sum over n ranks is rounded up to n times in all. There is no error
 * feedback: the errors have no direction, and are below those of a forward pass in the same type.
 *
 * <p>FLOAT16 ends at 65504 and has full accuracy from 2^-14 on, below which a last place is 2^-24.
 * A rank's gradients are its share of a mean over all ranks: nothing is divided once more, for
 * small ones would lose the more of their digits the more ranks there are, and a mean that is
 * beyond 65504 becomes infinite, as it should be seen. Where gradients are tiny and ranks are many
 * BFLOAT16 is the better type.
 *
 * <p>A rank sends half of what it would without: 2 (n - 1) / n times 2 bytes an element.
 */
final class CastReduction extends BucketReduction {
  private final Tensor halves; // [elements]
  private double errorNorm;

  CastReduction(Arena arena, Communicator communicator, long elementCount, DType type) {
    super(arena, communicator, elementCount);
    this.halves = arena.allocate(type, elementCount);
  }

  @Override
  void encode(Tensor gradients, long step) {
    engine().copy(gradients, halves);
    engine().addScaled(-1, halves, gradients); // what the cast has rounded away is left
    synchronize();
    allReduce(halves);
    errorNorm = Math.sqrt(squaredNorm(gradients)); // while the sum is under way
  }

  @Override
  void decode(Tensor gradients) throws InterruptedException {
    await();
    engine().copy(halves, gradients);
    synchronize();
  }

  @Override
  double errorNorm() {
    return errorNorm;
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
