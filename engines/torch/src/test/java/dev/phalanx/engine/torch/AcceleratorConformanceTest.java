package dev.phalanx.engine.torch;

import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.PretendedAccelerator;
import dev.phalanx.tensor.PretendedAccelerator.Timing;
import dev.phalanx.tensor.conformance.EngineConformance;

/** The suite itself reaches a device's memory by copies alone. */
class AcceleratorConformanceTest extends EngineConformance {
  @Override
  protected EngineProvider provider() {
    return new OpeningProvider(
        options ->
            PretendedAccelerator.over(new TorchEngineProvider().open(options), Timing.AT_ONCE));
  }

  /** LibTorch's kernels have gigabytes from {@link TorchEngineConformanceTest}. */
  @Override
  protected long manyElements() {
    return 100_003;
  }
}
