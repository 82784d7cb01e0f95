package dev.phalanx.tensor;

/** The numbers of one update by {@link Engine#sgd}. */
public record Sgd(
    double learningRate,
    double momentum,
    boolean nesterov,
    double weightDecay,
    double gradientScale) {}
