package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import dev.phalanx.trainer.StepRecord;
import java.util.Arrays;
import java.util.List;
import org.assertj.core.data.Offset;
import org.assertj.core.data.Percentage;

/** Losses and gradient norms of a job, step by step, and how near they must be to others. */
record Curves(double[] losses, double[] norms) {
  /**
   * Equivalent computations of the reference differ by at most 1.4e-6 in the loss and relatively by
   * 2.3e-6 in the norm; ours must stay close to that.
   */
  private static final Offset<Double> LOSS = Offset.offset(1e-5);

  private static final Percentage NORM = Percentage.withPercentage(0.001);

  static Curves of(InProcessJob.Run run) {
    return new Curves(
        run.steps().stream().mapToDouble(StepRecord::loss).toArray(),
        run.steps().stream().mapToDouble(StepRecord::gradientNorm).toArray());
  }

  static Curves of(JsonNode report) {
    return new Curves(numbers(report, "loss"), numbers(report, "grad_norm"));
  }

  static Curves of(Reference.Curve curve) {
    return new Curves(curve.losses(), curve.gradientNorms());
  }

  private static double[] numbers(JsonNode report, String key) {
    List<JsonNode> steps = report.path("steps").valueStream().toList();
    return steps.stream().mapToDouble(step -> step.path(key).doubleValue()).toArray();
  }

  /** The first steps. */
  Curves upTo(int steps) {
    return new Curves(Arrays.copyOf(losses, steps), Arrays.copyOf(norms, steps));
  }

  /** What comes after so many steps. */
  Curves from(int steps) {
    return new Curves(
        Arrays.copyOfRange(losses, steps, losses.length),
        Arrays.copyOfRange(norms, steps, norms.length));
  }

  void assertFollows(Curves expected) {
    assertThat(losses).hasSameSizeAs(expected.losses);
    for (int step = 0; step < losses.length; step++) {
      assertThat(losses[step]).as("loss of step %d", step).isCloseTo(expected.losses[step], LOSS);
      assertThat(norms[step]).as("norm of step %d", step).isCloseTo(expected.norms[step], NORM);
    }
  }
}
