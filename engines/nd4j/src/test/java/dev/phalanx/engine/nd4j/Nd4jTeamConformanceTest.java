package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.TeamEngine;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.conformance.EngineConformance;

/** Kernels that three threads share, however small, give what one thread gives. */
class Nd4jTeamConformanceTest extends EngineConformance {
  private static final class TeamProvider implements EngineProvider {
    @Override
    public String name() {
      return Nd4jEngine.NAME;
    }

    @Override
    public int priority() {
      return 0;
    }

    @Override
    public Engine open(EngineOptions options) {
      return new TeamEngine(new EngineOptions(3), Nd4jEngine::new, 0, 0);
    }
  }

  @Override
  protected EngineProvider provider() {
    return new TeamProvider();
  }
}
