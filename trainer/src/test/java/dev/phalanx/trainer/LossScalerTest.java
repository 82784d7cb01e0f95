package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.trainer.config.JobConfig;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

final class LossScalerTest {
  private final Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
  private final Arena host = new Arena(engine, Device.CPU);

  @AfterEach
  void close() {
    host.close();
    engine.close();
  }

  private LossScaler scaler(double initial, long growthInterval) {
    return LossScaler.of(Optional.of(new JobConfig.LossScaling(initial, growthInterval)), host);
  }

  @Test
  void goodStepsInARowDoubleTheScale() {
    LossScaler scaler = scaler(65536, 3);

    for (double expected : new double[] {65536, 65536, 131072, 131072, 131072, 262144}) {
      scaler.succeeded();
      assertThat(scaler.scale()).isEqualTo(expected);
    }
    assertThat(scaler.skippedSteps()).isZero();
  }

  @Test
  void aSkippedStepHalvesTheScaleAndTheCountBeginsAnew() {
    LossScaler scaler = scaler(65536, 3);

    scaler.succeeded();
    scaler.succeeded();
    scaler.skipped(3);
    assertThat(scaler.scale()).isEqualTo(32768);
    scaler.succeeded();
    scaler.succeeded();
    assertThat(scaler.scale()).isEqualTo(32768);
    scaler.succeeded();
    assertThat(scaler.scale()).isEqualTo(65536);
    assertThat(scaler.skippedSteps()).isEqualTo(1);
  }

  @Test
  void aScaleThatFallsForEverEndsTheJob() {
    LossScaler scaler = scaler(1, 2000);

    for (long step = 1; step <= 14; step++) {
      scaler.skipped(step);
    }
    assertThatThrownBy(() -> scaler.skipped(15))
        .isInstanceOf(NotFiniteException.class)
        .hasMessageContaining("Step 15")
        .hasMessageContaining("6.103515625E-5")
        .hasMessageContaining("precision: bf16");
  }

  @Test
  void withoutLossScalingTheFactorIsOne() {
    LossScaler off = LossScaler.of(Optional.empty(), host);

    for (int step = 0; step < 5000; step++) {
      off.succeeded();
    }
    assertThat(off.isDynamic()).isFalse();
    assertThat(off.scale()).isEqualTo(1);
    assertThat(off.reported()).isEmpty();
  }

  /** The optimizer counts updates in any precision; gradients have a scale in fp16 alone. */
  @Test
  void aJobThatGoesOnInAnotherPrecisionKeepsTheSkippedStepsAndDropsTheScale() {
    LossScaler scaler = scaler(65536, 2000);
    scaler.skipped(1);
    scaler.succeeded();

    LossScaler off = goneOn(scaler, LossScaler.of(Optional.empty(), host));
    assertThat(off.scale()).isEqualTo(1);
    assertThat(off.skippedSteps()).isEqualTo(1);
    assertThat(off.isToBeSaved()).isTrue();

    LossScaler again = goneOn(off, scaler(1024, 2000));
    assertThat(again.scale()).isEqualTo(1024);
    assertThat(again.skippedSteps()).isEqualTo(1);

    LossScaler same = goneOn(scaler, scaler(1024, 2000));
    assertThat(same.scale()).isEqualTo(32768);
    assertThat(LossScaler.of(Optional.empty(), host).isToBeSaved()).isFalse();
  }

  private LossScaler goneOn(LossScaler from, LossScaler to) {
    host.engine().copy(from.saved(), to.saved());
    to.loaded();
    return to;
  }
}
