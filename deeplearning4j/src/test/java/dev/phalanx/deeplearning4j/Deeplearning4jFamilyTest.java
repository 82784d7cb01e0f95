package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.nd4j.linalg.api.blas.Blas;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.nativeblas.NativeOps;
import org.nd4j.nativeblas.NativeOpsHolder;

final class Deeplearning4jFamilyTest {
  private final Blas products = Nd4j.factory().blas();
  private final NativeOps operations = NativeOpsHolder.getInstance().getDeviceNativeOps();

  @AfterEach
  void oneThread() {
    Deeplearning4jFamily.computeWith(1);
  }

  /** An engine leaves one. */
  @Test
  void aNetworksLayersComputeWithThePlansThreadsThoughAnEngineIsOpen() {
    try (Engine engine = Engines.open("auto", EngineOptions.singleThreaded())) {
      assertThat(engine.name()).isNotEmpty();
      Deeplearning4jFamily.computeWith(2);

      assertThat(operations.ompGetMaxThreads()).isEqualTo(2);
      assertThat(products.getMaxThreads()).isEqualTo(2);
    }
  }
}
