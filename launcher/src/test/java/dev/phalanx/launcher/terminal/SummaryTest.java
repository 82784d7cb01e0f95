package dev.phalanx.launcher.terminal;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.Unit;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;

final class SummaryTest {
  private static final Path FOLDER = Path.of("/home/me/job");

  private static JobResult result(
      JobResult.Outcome outcome, Double evaluation, Optional<Path> checkpoint) {
    return new JobResult(
        outcome,
        600,
        1.23456,
        Optional.of(evaluation)
            .filter(loss -> !loss.isNaN())
            .map(loss -> new Evaluation(loss, 1, OptionalDouble.empty())),
        75,
        Unit.TOKENS,
        12_345,
        512L << 20,
        checkpoint,
        Optional.of(Path.of("runs/report.json")));
  }

  @Test
  void aJobThatWasDoneBeforeHasNoLoss() {
    JobResult nothing =
        new JobResult(
            JobResult.Outcome.COMPLETED,
            4,
            Double.NaN,
            Optional.empty(),
            0.1,
            Unit.TOKENS,
            0,
            1 << 20,
            Optional.of(FOLDER.resolve("step-4")),
            Optional.empty());
    assertThat(Summary.of(nothing, "./phalanx", Optional.of("It was "), FOLDER))
        .containsExactly(
            "Done: 4 steps, 0:00 in this run",
            "  nothing was left to do: write more steps in the plan to go on",
            "  checkpoint   step-4");
  }

  @Test
  void aDoneJobTellsWhatCameOutAndWhatToTry() {
    Path checkpoint = FOLDER.resolve("runs/step-600");

    assertThat(
            Summary.of(
                result(JobResult.Outcome.COMPLETED, 1.5, Optional.of(checkpoint)),
                "./phalanx",
                Optional.of("It was "),
                FOLDER))
        .containsExactly(
            "Done: 600 steps, 1:15 in this run",
            "  loss         1.2346, on held-out data 1.5000",
            "  speed        12.3k tokens/s",
            "  peak memory  512 MiB in the largest rank",
            "  checkpoint   runs/step-600",
            "  report       runs/report.json",
            "Try it:",
            "  ./phalanx generate --checkpoint runs/step-600 --prompt \"It was \" --max-tokens"
                + " 200");
  }

  @Test
  void aStoppedJobWithoutCheckpointOrEvaluationSaysNoMoreThanItKnows() {
    assertThat(
            Summary.of(
                result(JobResult.Outcome.STOPPED, Double.NaN, Optional.empty()),
                "phalanx",
                Optional.of("It was "),
                FOLDER))
        .containsExactly(
            "Stopped: 600 steps, 1:15 in this run",
            "  loss         1.2346",
            "  speed        12.3k tokens/s",
            "  peak memory  512 MiB in the largest rank",
            "  report       runs/report.json");
  }

  @Test
  void whatLiesElsewhereIsShownInFull() {
    assertThat(
            Summary.of(
                result(JobResult.Outcome.COMPLETED, 1.0, Optional.of(Path.of("/data/step-600"))),
                "phalanx",
                Optional.empty(),
                FOLDER))
        .contains("  checkpoint   /data/step-600")
        .doesNotContain("Try it:");
  }
}
