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
 * <p>FLOAT16 ends at 65504: gradients are divided by the smallest power of two that is no less than
 * the number of ranks, so that the sum fits where every summand does, and multiplied after it.
 * Powers of two cost no accuracy but at the lower end, where what is below 2^-25 times that power
 * becomes zero. A gradient beyond 65504 times that power becomes infinite, as it should be seen.
 *
 * <p>A rank sends half of what it would without: 2 (n - 1) / n times 2 bytes an element.
 */
final class CastReduction extends BucketReduction {
  private final Tensor halves; // [elements]
  private final double divisor;
  private double errorNorm;

  CastReduction(Arena arena, Communicator communicator, long elementCount, DType type) {
    super(arena, communicator, elementCount);
    this.halves = arena.allocate(type, elementCount);
    this.divisor = type == DType.FLOAT16 ? powerOfTwoFrom(ranks()) : 1;
  }

  private static double powerOfTwoFrom(int ranks) {
    int floor = Integer.highestOneBit(ranks);
    return floor == ranks ? floor : 2.0 * floor;
  }

  @Override
  void encode(Tensor gradients, long step) {
    if (divisor != 1) {
      engine().scale(gradients, 1 / divisor);
    }
    engine().copy(gradients, halves);
    engine().addScaled(-1, halves, gradients); // what the cast has rounded away is left
    synchronize();
    allReduce(halves);
    errorNorm = divisor * Math.sqrt(squaredNorm(gradients)); // while the sum is under way
  }

  @Override
  void decode(Tensor gradients) throws InterruptedException {
    await();
    engine().copy(halves, gradients);
    if (divisor != 1) {
      engine().scale(gradients, divisor);
    }
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
