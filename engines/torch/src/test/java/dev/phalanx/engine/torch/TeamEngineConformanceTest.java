package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.CpuFeatures;
import dev.phalanx.engine.host.TeamEngine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.conformance.EngineConformance;

/** Kernels that three threads share, however small, give what one thread gives. */
class TeamEngineConformanceTest extends EngineConformance {
  @Override
  protected EngineProvider provider() {
    boolean multipliesBfloat16 = CpuFeatures.ofThisMachine().multipliesBfloat16();
    return new OpeningProvider(
        options ->
            new TeamEngine(
                new EngineOptions(3), member -> new TorchEngine(member, multipliesBfloat16), 0, 0));
  }
}
