package dev.phalanx.trainer.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.trainer.config.JobConfig.Optimizer;
import dev.phalanx.trainer.config.JobConfig.Schedule;
import dev.phalanx.trainer.config.JobConfig.ScheduleKind;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;

class LearningRateScheduleTest {
  @Test
  void cosineFollowsTheReferencesFormula() {
    LearningRateSchedule schedule = schedule(ScheduleKind.COSINE, 10, 50, 1e-4);

    for (int s = 0; s < 50; s++) {
      double expected =
          s < 10
              ? 1e-3 * (s + 1) / 10
              : 1e-4 + 0.5 * (1e-3 - 1e-4) * (1 + Math.cos(Math.PI * (s - 10) / 40));
      assertThat(schedule.at(s)).as("step %d", s).isCloseTo(expected, within(1e-18));
    }
    assertThat(schedule.at(50)).isEqualTo(1e-4);
    assertThat(schedule.at(1000)).isEqualTo(1e-4);
  }

  @Test
  void linearGoesDownEvenly() {
    LearningRateSchedule schedule = schedule(ScheduleKind.LINEAR, 2, 6, 2e-4);

    assertThat(schedule.at(0)).isEqualTo(5e-4);
    assertThat(schedule.at(1)).isEqualTo(1e-3);
    assertThat(schedule.at(2)).isEqualTo(1e-3);
    assertThat(schedule.at(3)).isCloseTo(8e-4, within(1e-18));
    assertThat(schedule.at(5)).isCloseTo(4e-4, within(1e-18));
    assertThat(schedule.at(6)).isEqualTo(2e-4);
    assertThat(schedule.at(7)).isEqualTo(2e-4);
  }

  @Test
  void constantStaysAfterTheWarmup() {
    LearningRateSchedule schedule = schedule(ScheduleKind.CONSTANT, 4, 6, 0);

    assertThat(schedule.at(1)).isEqualTo(5e-4);
    assertThat(schedule.at(4)).isEqualTo(1e-3);
    assertThat(schedule.at(1_000_000)).isEqualTo(1e-3);
  }

  @Test
  void noWarmupStartsAtThePeak() {
    assertThat(schedule(ScheduleKind.COSINE, 0, 50, 0).at(0)).isEqualTo(1e-3);
    assertThat(schedule(ScheduleKind.COSINE, 5, 5, 1e-4).at(5)).isEqualTo(1e-4);
  }

  @Test
  void stepsBeforeTheFirstAreRefused() {
    assertThatThrownBy(() -> schedule(ScheduleKind.COSINE, 0, 50, 0).at(-1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("step is -1");
  }

  private static LearningRateSchedule schedule(
      ScheduleKind kind, long warmupSteps, long decaySteps, double minimum) {
    return LearningRateSchedule.of(
        new Optimizer(
            new Optimizer.Sgd(0, false),
            1e-3,
            0,
            OptionalDouble.empty(),
            new Schedule(kind, warmupSteps, decaySteps, minimum)));
  }
}
