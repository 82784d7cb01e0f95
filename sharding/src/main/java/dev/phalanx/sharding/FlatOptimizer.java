package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import java.util.Map;

/** An optimizer over what a rank updates. */
public interface FlatOptimizer {
  /**
   * Updates the master values from the gradients and refreshes the values of the computation. Some
   * optimizers need memory for it and take the gradients': what they hold afterwards is undefined.
   * All ranks call together.
   *
   * @param step from 1
   * @param gradientScale what each gradient is multiplied with first (clipping)
   */
  void step(long step, double learningRate, double gradientScale);

  /**
   * The state, each tensor [{@link UpdatedValues#stateElementCount}] FLOAT32 or one of {@link
   * UpdatedValues#allocateState}, by the name that checkpoints use.
   */
  Map<String, Tensor> state();
}
