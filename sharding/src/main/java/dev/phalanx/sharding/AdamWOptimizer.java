package dev.phalanx.sharding;

import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * AdamW (Loshchilov and Hutter, 2019); weight decay on parameters of two or more dimensions. See
 * {@link AdamW}.
 */
public final class AdamWOptimizer implements FlatOptimizer {
  private final Engine engine;
  private final UpdatedValues updated;
  private final List<AdamWPart> parts;
  private final double beta1;
  private final double beta2;
  private final double epsilon;
  private final double weightDecay;
  private final long varianceSteps;
  private final Tensor firstMoments;
  private final Tensor secondMoments;

  /**
   * @param arena owns the moments
   */
  public AdamWOptimizer(
      Arena arena,
      UpdatedValues updated,
      double beta1,
      double beta2,
      double epsilon,
      double weightDecay) {
    this(arena, updated, beta1, beta2, epsilon, weightDecay, Long.MAX_VALUE);
  }

  /**
   * 1-bit Adam's update (Tang et al., 2021).
   *
   * @param arena owns the moments
   * @param varianceSteps after so many steps gradients are first moments and second moments stay
   */
  public AdamWOptimizer(
      Arena arena,
      UpdatedValues updated,
      double beta1,
      double beta2,
      double epsilon,
      double weightDecay,
      long varianceSteps) {
    this.engine = arena.engine();
    this.updated = updated;
    this.beta1 = beta1;
    this.beta2 = beta2;
    this.epsilon = epsilon;
    this.weightDecay = weightDecay;
    this.varianceSteps = varianceSteps;
    this.firstMoments = arena.zeros(DType.FLOAT32, updated.stateElementCount());
    this.secondMoments = arena.zeros(DType.FLOAT32, updated.stateElementCount());
    this.parts =
        updated.runs().stream()
            .map(
                run ->
                    new AdamWPart(
                        run.isDecayed(),
                        run.master(),
                        run.gradients(),
                        run.of(firstMoments),
                        run.of(secondMoments)))
            .toList();
  }

  @Override
  public void step(long step, double learningRate, double gradientScale) {
    AdamW update =
        new AdamW(
            learningRate, beta1, beta2, epsilon, weightDecay, gradientScale, step, varianceSteps);
    parts.forEach(part -> part.update(engine, update));
    updated.refreshValues();
  }

  @Override
  public Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    state.put("first_moments", firstMoments);
    state.put("second_moments", secondMoments);
    return state;
  }
}
