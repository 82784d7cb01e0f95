package dev.phalanx.tensor;

/**
 * The numbers of one AdamW update (Loshchilov and Hutter, 2019, algorithm 2), per element with
 * gradient {@code g}:
 *
 * <pre>
 *   g = gradientScale * g
 *   p = p * (1 - learningRate * weightDecay)
 *   m = m + (1 - beta1) * (g - m)
 *   v = beta2 * v + (1 - beta2) * g * g
 *   p = p - learningRate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
 * </pre>
 *
 * <p>In steps after {@code varianceSteps} the gradients are first moments already and {@code v}
 * stays as it is, as 1-bit Adam has it (Tang et al., 2021, "1-bit Adam", algorithm 1):
 *
 * <pre>
 *   m = gradientScale * g
 *   p = p * (1 - learningRate * weightDecay)
 *   p = p - learningRate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^varianceSteps) + epsilon)
 * </pre>
 *
 * @param step from 1
 * @param varianceSteps at least 1
 */
public record AdamW(
    double learningRate,
    double beta1,
    double beta2,
    double epsilon,
    double weightDecay,
    double gradientScale,
    long step,
    long varianceSteps) {

  /** With second moments of all steps. */
  public AdamW(
      double learningRate,
      double beta1,
      double beta2,
      double epsilon,
      double weightDecay,
      double gradientScale,
      long step) {
    this(learningRate, beta1, beta2, epsilon, weightDecay, gradientScale, step, Long.MAX_VALUE);
  }

  /** The same without weight decay. */
  public AdamW withoutDecay() {
    return new AdamW(learningRate, beta1, beta2, epsilon, 0, gradientScale, step, varianceSteps);
  }

  /** Whether the second moments stay as they are. */
  public boolean isVarianceFrozen() {
    return step > varianceSteps;
  }
}
