package dev.phalanx.trainer.model;

/**
 * Consecutive layers of a model, which one stage of a pipeline computes. The first stage has the
 * embedding too, the last one the last norm and the projection to the vocabulary.
 *
 * @param first the number of the first layer
 * @param end the number after the last one; there is at least one layer
 */
public record StageLayers(int first, int end, boolean isFirst, boolean isLast) {
  /** A model without a pipeline. */
  public static StageLayers all(int layers) {
    return new StageLayers(0, layers, true, true);
  }

  public int count() {
    return end - first;
  }
}
