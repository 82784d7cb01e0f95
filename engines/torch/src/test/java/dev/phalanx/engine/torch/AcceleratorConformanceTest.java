package dev.phalanx.engine.torch;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.PretendedAccelerator;
import dev.phalanx.tensor.PretendedAccelerator.Timing;
import dev.phalanx.tensor.conformance.EngineConformance;

/** The suite itself reaches a device's memory by copies alone. */
class AcceleratorConformanceTest extends EngineConformance {
  @Override
  protected EngineProvider provider() {
    return new EngineProvider() {
      @Override
      public String name() {
        return "torch";
      }

      @Override
      public int priority() {
        return 0;
      }

      @Override
      public Engine open(EngineOptions options) {
        return PretendedAccelerator.over(new TorchEngineProvider().open(options), Timing.AT_ONCE);
      }
    };
  }
}
