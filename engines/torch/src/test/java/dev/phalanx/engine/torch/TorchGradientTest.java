package dev.phalanx.engine.torch;

import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.conformance.GradientConformance;

/** Every differentiable operation on this engine. */
class TorchGradientTest extends GradientConformance {
  @Override
  protected EngineProvider provider() {
    return new TorchEngineProvider();
  }
}
