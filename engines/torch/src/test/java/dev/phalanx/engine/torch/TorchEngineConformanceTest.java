package dev.phalanx.engine.torch;

import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.conformance.EngineConformance;

class TorchEngineConformanceTest extends EngineConformance {
  @Override
  protected EngineProvider provider() {
    return new TorchEngineProvider();
  }
}
