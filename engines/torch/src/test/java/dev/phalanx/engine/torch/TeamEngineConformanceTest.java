package dev.phalanx.engine.torch;

import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.conformance.EngineConformance;

/** Kernels that several threads share give what one thread gives. */
class TeamEngineConformanceTest extends EngineConformance {
  @Override
  protected EngineProvider provider() {
    return new DividingProvider();
  }
}
