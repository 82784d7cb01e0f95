package dev.phalanx.launcher.terminal;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.JobSummary;
import dev.phalanx.trainer.StepRecord;
import dev.phalanx.trainer.Unit;
import java.nio.file.Path;
import java.time.Duration;
import java.util.OptionalDouble;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;

final class ProgressTest {
  private static final long TOKENS = 1000;

  /** A clock of the test's own; it may start anywhere, as the JVM's does. */
  private long now = -5_000_000_000L;

  private Progress progress(CapturedConsole captured, boolean isQuiet, long plainEvery) {
    return new Progress(captured.console(), isQuiet, plainEvery, () -> now);
  }

  private static WorkerEvent started(long firstStep, long lastStep) {
    return new WorkerEvent.Started(
        0,
        new JobSummary(
            "tiny",
            2,
            "gpt2",
            12_345,
            "torch",
            "torch",
            "fp32",
            Unit.TOKENS,
            TOKENS,
            firstStep,
            lastStep));
  }

  private static WorkerEvent step(long step, double loss, double millis) {
    return new WorkerEvent.StepFinished(0, new StepRecord(step, loss, 1, 1e-3, TOKENS, millis));
  }

  private static WorkerEvent evaluated(long step, double loss) {
    return new WorkerEvent.Evaluated(0, step, new Evaluation(loss, 1, OptionalDouble.empty()));
  }

  private static WorkerEvent skipped(long step) {
    return new WorkerEvent.StepFinished(
        0,
        new StepRecord(
            step,
            2,
            Double.POSITIVE_INFINITY,
            1e-3,
            TOKENS,
            1000,
            OptionalDouble.of(65536),
            OptionalDouble.empty(),
            true));
  }

  @Example
  void skippedStepsAreCounted() {
    CapturedConsole captured = CapturedConsole.terminal(100);
    Progress progress = progress(captured, false, 1);

    progress.accept(started(1, 100));
    progress.accept(step(1, 2.5, 60_000));
    pass(Duration.ofSeconds(1));
    progress.accept(skipped(2));
    assertThat(captured.shown().get(1)).startsWith("step 2/100").endsWith("  skipped 1");
    pass(Duration.ofSeconds(1));
    progress.accept(step(3, 2.25, 1000));
    assertThat(captured.shown().get(1)).startsWith("step 3/100").endsWith("  skipped 1");
  }

  private void pass(Duration time) {
    now += time.toNanos();
  }

  @Example
  void theJobIsIntroduced() {
    CapturedConsole captured = CapturedConsole.file();

    progress(captured, false, 1).accept(started(1, 600));

    assertThat(captured.error())
        .isEqualToNormalizingNewlines(
            "tiny: gpt2 with 12.3k parameters, fp32, torch; 2 ranks; 1.0k tokens a step, steps 1 to"
                + " 600\n");
  }

  @Example
  void timeLeftFollowsFromTheStepsSinceTheFirst() {
    CapturedConsole captured = CapturedConsole.terminal(100);
    Progress progress = progress(captured, false, 1);

    progress.accept(started(1, 100));
    pass(Duration.ofSeconds(60)); // the first step warms up: it does not count
    progress.accept(step(1, 2.5, 60_000));
    assertThat(captured.shown().get(1)).isEqualTo("step 1/100  loss 2.5000  17 tokens/s");
    pass(Duration.ofSeconds(2));
    progress.accept(step(2, 2.25, 2000));
    assertThat(captured.shown().get(1)).startsWith("step 2/100  loss 2.2500").endsWith("left 3:16");
    pass(Duration.ofSeconds(1));
    progress.accept(step(3, 2, 1000));
    assertThat(captured.shown().get(1)).endsWith("left 2:26"); // 97 steps of 1.5 s
  }

  @Example
  void timeLeftAfterAResumeCountsOnlyThisRunsSteps() {
    CapturedConsole captured = CapturedConsole.terminal(100);
    Progress progress = progress(captured, false, 1);

    progress.accept(started(91, 100));
    progress.accept(step(91, 2, 1000));
    pass(Duration.ofSeconds(1));
    progress.accept(step(92, 2, 1000));

    assertThat(captured.shown().get(1)).endsWith("left 0:08");
  }

  @Example
  void theLastStepHasNothingLeftAndIsShownAtOnce() {
    CapturedConsole captured = CapturedConsole.terminal(100);
    Progress progress = progress(captured, false, 1);

    progress.accept(started(1, 3));
    for (int step = 1; step <= 3; step++) {
      pass(Duration.ofMillis(1));
      progress.accept(step(step, step, 1));
    }
    progress.end();

    assertThat(captured.shown().get(1)).startsWith("step 3/3  loss 3.0000").endsWith("left 0:00");
  }

  @Example
  void aTerminalIsRedrawnAtMostTenTimesASecond() {
    CapturedConsole captured = CapturedConsole.terminal(100);
    Progress progress = progress(captured, false, 1);

    progress.accept(started(1, 1_000_000));
    for (int step = 1; step <= 1001; step++) {
      progress.accept(step(step, 1, 1));
      pass(Duration.ofMillis(1));
    }

    assertThat(captured.drawn()).filteredOn(line -> line.startsWith("step")).hasSize(11);
  }

  @Property(tries = 200)
  void aLineIsNeverAsWideAsTheTerminal(
      @ForAll @IntRange(min = 1, max = 200) int columns,
      @ForAll @LongRange(min = 2) long lastStep,
      @ForAll double loss,
      @ForAll @LongRange(min = 0, max = 1L << 50) long nanos) {
    CapturedConsole captured = CapturedConsole.terminal(columns);
    Progress progress = progress(captured, false, 1);

    progress.accept(started(1, lastStep));
    progress.accept(step(1, loss, 1e-9));
    now += nanos;
    progress.accept(evaluated(1, loss));
    progress.accept(step(lastStep, loss, 1e9));

    assertThat(captured.drawn().subList(2, captured.drawn().size()))
        .allSatisfy(line -> assertThat(line).hasSizeLessThan(columns));
  }

  @Example
  void withoutATerminalALineComesEverySoManySteps() {
    CapturedConsole captured = CapturedConsole.file();
    Progress progress = progress(captured, false, 10);

    progress.accept(started(1, 25));
    for (int step = 1; step <= 25; step++) {
      pass(Duration.ofSeconds(1));
      progress.accept(step(step, 1, 1000));
    }
    progress.end();

    assertThat(captured.error()).doesNotContain("\u001b", "\r");
    assertThat(captured.error().lines().skip(1).map(line -> line.split(" ", -1)[1]))
        .containsExactly("1/25", "10/25", "20/25", "25/25");
  }

  @Example
  void withoutATerminalEvaluationsAndCheckpointsAreLines() {
    CapturedConsole captured = CapturedConsole.file();
    Progress progress = progress(captured, false, 10);

    progress.accept(new WorkerEvent.Resumed(0, 10, Path.of("saved", "step-10")));
    progress.accept(evaluated(20, 2.5));
    progress.accept(new WorkerEvent.CheckpointSaved(0, 20, Path.of("saved", "step-20")));

    assertThat(captured.error().lines())
        .containsExactly(
            "going on from step 10, saved in saved/step-10",
            "step 20  evaluation loss 2.5000",
            "step 20  checkpoint saved in saved/step-20");
  }

  @Example
  void aTerminalShowsTheLastEvaluationInTheLiveLine() {
    CapturedConsole captured = CapturedConsole.terminal(100);
    Progress progress = progress(captured, false, 10);

    progress.accept(started(1, 3));
    progress.accept(evaluated(1, 2.5));
    progress.accept(new WorkerEvent.CheckpointSaved(0, 1, Path.of("saved")));
    progress.accept(step(3, 2, 1));

    assertThat(captured.shown()).hasSize(2);
    assertThat(captured.shown().get(1)).endsWith("eval 2.5000");
  }

  @Example
  void aQuietJobShowsNothing() {
    CapturedConsole captured = CapturedConsole.terminal(100);
    Progress progress = progress(captured, true, 1);

    progress.accept(started(1, 1));
    progress.accept(step(1, 1, 1));
    progress.end();

    assertThat(captured.error()).isEmpty();
  }
}
