package dev.phalanx.sharding;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Sgd;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Stochastic gradient descent with momentum, Nesterov's where asked for (Sutskever et al., 2013).
 * See {@link Sgd}.
 */
public final class SgdOptimizer implements FlatOptimizer {
  private record Part(
      boolean isDecayed, Tensor master, Tensor gradients, @Nullable Tensor momenta) {}

  private final Engine engine;
  private final List<Part> parts;
  private final UpdatedValues updated;
  private final double momentum;
  private final boolean nesterov;
  private final double weightDecay;
  private final @Nullable Tensor momenta;

  /**
   * @param arena owns the momenta
   * @param momentum 0 for none
   */
  public SgdOptimizer(
      Arena arena, UpdatedValues updated, double momentum, boolean nesterov, double weightDecay) {
    this.engine = arena.engine();
    this.updated = updated;
    this.momentum = momentum;
    this.nesterov = nesterov;
    this.weightDecay = weightDecay;
    this.momenta = momentum == 0 ? null : arena.zeros(DType.FLOAT32, updated.stateElementCount());
    this.parts =
        updated.runs().stream()
            .map(
                run ->
                    new Part(
                        run.isDecayed(),
                        run.master(),
                        run.gradients(),
                        momenta == null ? null : run.of(momenta)))
            .toList();
  }

  @Override
  public void step(long step, double learningRate, double gradientScale) {
    for (Part part : parts) {
      engine.sgd(
          new Sgd(
              learningRate, momentum, nesterov, part.isDecayed() ? weightDecay : 0, gradientScale),
          part.master(),
          part.gradients(),
          part.momenta());
    }
    updated.refreshValues();
  }

  @Override
  public Map<String, Tensor> state() {
    return momenta == null ? Map.of() : Map.of("momenta", momenta);
  }
}
