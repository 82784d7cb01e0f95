package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.tensor.autograd.RotaryTable;
import org.jspecify.annotations.Nullable;

/**
 * What one pass over a micro-batch is about.
 *
 * @param batch sequences
 * @param length tokens of each
 * @param rotary the angles of the positions, for models with rotary positions
 * @param isTraining whether values are dropped
 * @param dropoutSeed the seed of this step's dropout masks; read only while training
 * @param firstToken the number of the first token within the global batch, so that masks do not
 *     depend on the layout
 */
record ForwardPass(
    long batch,
    long length,
    @Nullable RotaryTable rotary,
    boolean isTraining,
    long dropoutSeed,
    long firstToken) {
  /** The number of the first element of a width among those that are here. */
  long firstElement(TensorGroup group, long width) {
    return (firstToken + group.rows(batch * length).first()) * width;
  }
}
