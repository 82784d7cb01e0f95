package dev.phalanx.engine.nd4j;

import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.conformance.EngineConformance;

class Nd4jEngineConformanceTest extends EngineConformance {
  @Override
  protected EngineProvider provider() {
    return new Nd4jEngineProvider();
  }
}
