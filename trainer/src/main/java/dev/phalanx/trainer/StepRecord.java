package dev.phalanx.trainer;

/**
 * One optimizer step, as the report lists it.
 *
 * @param step from 1
 * @param loss the mean over all tokens of the global batch
 * @param gradientNorm before clipping, over all parameters
 * @param learningRate used in this step
 * @param tokens of the global batch
 * @param stepMillis wall time of the step on this rank
 */
public record StepRecord(
    long step,
    double loss,
    double gradientNorm,
    double learningRate,
    long tokens,
    double stepMillis) {
  public double tokensPerSecond() {
    return stepMillis <= 0 ? 0 : tokens / (stepMillis / 1000.0);
  }
}
