package dev.phalanx.trainer;

import java.util.OptionalDouble;

/**
 * One optimizer step, as the report lists it.
 *
 * @param step from 1
 * @param loss the mean over the global batch
 * @param gradientNorm before clipping, over all parameters; not finite in a step that was skipped
 * @param learningRate used in this step
 * @param items tokens or samples of the global batch, as the job's {@link Unit} says
 * @param stepMillis wall time of the step on this rank
 * @param lossScale what the loss was multiplied with for the backward pass; fp16 only
 * @param expertLoad how many times as many tokens the busiest expert of any layer got as if all had
 *     got equally many; mixtures of experts only
 * @param isSkipped whether the parameters stayed as they were, because gradients so scaled were not
 *     finite
 */
public record StepRecord(
    long step,
    double loss,
    double gradientNorm,
    double learningRate,
    long items,
    double stepMillis,
    OptionalDouble lossScale,
    OptionalDouble expertLoad,
    boolean isSkipped) {
  /** A step without loss scaling or experts. */
  public StepRecord(
      long step,
      double loss,
      double gradientNorm,
      double learningRate,
      long items,
      double stepMillis) {
    this(
        step,
        loss,
        gradientNorm,
        learningRate,
        items,
        stepMillis,
        OptionalDouble.empty(),
        OptionalDouble.empty(),
        false);
  }

  public double itemsPerSecond() {
    return stepMillis <= 0 ? 0 : items / (stepMillis / 1000.0);
  }
}
