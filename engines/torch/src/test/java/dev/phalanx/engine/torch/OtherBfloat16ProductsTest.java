package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.CpuFeatures;
import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.conformance.MatrixProductConformance;

/**
 * Products of BFLOAT16 as machines of the other kind than this one make them: by LibTorch's own
 * kernels, or widened.
 */
class OtherBfloat16ProductsTest extends MatrixProductConformance {
  @Override
  protected EngineProvider provider() {
    boolean here = CpuFeatures.ofThisMachine().multipliesBfloat16();
    TorchLibraries.locate();
    return new OpeningProvider(options -> new TorchEngine(options, !here));
  }
}
