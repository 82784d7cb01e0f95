package dev.phalanx.sharding;

import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;

/** Neighbours in memory that AdamW updates, with their moments; all [n] FLOAT32. */
record AdamWPart(
    boolean isDecayed, Tensor master, Tensor gradients, Tensor firstMoments, Tensor secondMoments) {
  /**
   * @param update with the weight decay of parameters that have it
   */
  void update(Engine engine, AdamW update) {
    engine.adamW(
        isDecayed ? update : update.withoutDecay(), master, gradients, firstMoments, secondMoments);
  }
}
