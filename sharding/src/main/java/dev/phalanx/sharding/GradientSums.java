package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.Optional;

/**
 * Where gradients lie, and how they are summed: over the data-parallel ranks, and what ranks that
 * divide the model have copies of over these.
 */
interface GradientSums {
  /** Where a parameter's gradient is written, at each use. */
  Tensor gradient(Parameter parameter);

  /** This rank's part of a bucket's sum, padding among it; complete after {@link #finish}. */
  Tensor part(ShardLayout.Bucket bucket);

  /**
   * Forgets the last step's sums.
   *
   * @param step the number of the update that is to be made, from 1
   */
  void beginStep(long step);

  /**
   * A backward pass begins.
   *
   * @param part of the model, see {@link ModelMemory}
   * @param isLast whether the step has no more micro-batches for it
   */
  GradientListener beginBackward(int part, boolean isLast);

  /** Waits until all sums are there. */
  void finish() throws InterruptedException;

  /** Bytes that are held until the update. */
  long bytes();

  /** The sums that are compressed where the plan says so; empty where there is one rank. */
  Optional<BucketSums> compressible();
}
