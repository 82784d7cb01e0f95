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
 * @param step from 1
 */
public record AdamW(
    double learningRate,
    double beta1,
    double beta2,
    double epsilon,
    double weightDecay,
    double gradientScale,
    long step) {}
