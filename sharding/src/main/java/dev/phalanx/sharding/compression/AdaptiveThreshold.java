package dev.phalanx.sharding.compression;

/**
 * How a threshold follows the part of a bucket's elements that is sent: it rises where that was
 * above a range, falls where it was below, and stays within, as Deeplearning4j's {@code
 * AdaptiveThresholdAlgorithm} does. Its steps are a twentieth of an octave, and downwards these are
 * too.
 *
 * <p>Upwards by that little, gradients that are ten times too large for the first threshold run
 * away from what is applied for sixty steps. So a threshold rises faster the farther it is off.
 * Residuals of gradients without a direction wander: steps of s reach t after about (t / s)² of
 * them, so the density goes as 1 / t², and one that is x times too high wants √x t. To go there at
 * once is too far, for when a threshold has risen, residuals below the old one send nothing until
 * they have come to the new one. So t goes half of these octaves, by the fourth root of x, but a
 * twentieth of an octave at least and a whole one at most. For the same reason it does not fall
 * faster the less is sent.
 *
 * <p>A threshold never leaves fp32's normal numbers, whatever gradients do.
 *
 * @param minimumDensity the part of the elements below which the threshold falls, above 0
 * @param maximumDensity the part above which it rises, at least as large and below 1
 */
record AdaptiveThreshold(double minimumDensity, double maximumDensity) {
  private static final double SMALLEST_STEP = Math.pow(2, 1.0 / 20);
  private static final double LARGEST_STEP = 2;

  /**
   * The next step's threshold.
   *
   * @param threshold of this step
   * @param density the part of the elements that it has sent
   */
  float next(float threshold, double density) {
    if (density > maximumDensity) {
      double step = Math.sqrt(Math.sqrt(density / maximumDensity));
      return normal(threshold * Math.max(SMALLEST_STEP, Math.min(step, LARGEST_STEP)));
    }
    return density < minimumDensity ? normal(threshold / SMALLEST_STEP) : threshold;
  }

  private static float normal(double threshold) {
    return (float) Math.max(Float.MIN_NORMAL, Math.min(threshold, Float.MAX_VALUE));
  }
}
