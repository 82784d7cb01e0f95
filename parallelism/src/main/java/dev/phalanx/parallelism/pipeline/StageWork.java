package dev.phalanx.parallelism.pipeline;

import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** What a rank computes when its schedule says so. Used by the thread that trains. */
public interface StageWork {
  /**
   * The forward pass of a micro-batch through a stage.
   *
   * @param input what the stage before has given, owned by this from here on; null on the first
   *     stage
   * @return what the next stage is given, whose owner the caller becomes; null on the last stage
   */
  @Nullable Tensor forward(int stage, int microBatch, @Nullable Tensor input);

  /**
   * The backward pass, or the part of it that the stage before waits for.
   *
   * @param action a backward pass or {@link Action.Kind#BACKWARD_INPUT}
   * @param gradient of what {@link #forward} has returned, owned by this from here on; null on the
   *     last stage
   * @return the gradient of the stage's input, whose owner the caller becomes; null on the first
   *     stage
   */
  @Nullable Tensor backward(Action action, @Nullable Tensor gradient);

  /** What {@link Action.Kind#BACKWARD_INPUT} has left for later. */
  void backwardWeight(int stage, int microBatch);

  /** Memory for an activation that one stage gives to the next, or its gradient. */
  Tensor allocate(int microBatch);
}
