package dev.phalanx.launcher.terminal;

import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.JobSummary;
import dev.phalanx.trainer.StepRecord;
import dev.phalanx.trainer.Unit;
import java.util.Locale;
import java.util.Optional;
import java.util.function.LongSupplier;

/**
 * Shows how a job goes on: a live line on a terminal, otherwise a plain line every so many steps.
 *
 * <pre>
 *   step 120/600  loss 2.3145  12.3k tokens/s  left 0:42  eval 2.4100
 * </pre>
 *
 * <p>One thread.
 */
public final class Progress {
  private static final long REDRAW_NANOS = 100_000_000L;

  /** The part of a new step in the smoothed speed. */
  private static final double SMOOTHING = 0.1;

  private final Console console;
  private final boolean isQuiet;
  private final long plainEvery;
  private final LongSupplier nanoTime;
  private long lastStep;
  private long firstStepDone;
  private long firstStepNanos;
  private long drawnNanos;
  private double itemsPerSecond;
  private String unit = Unit.TOKENS.label();
  private Optional<Evaluation> evaluation = Optional.empty();
  private long skippedSteps; // whose gradients were not finite in fp16

  /**
   * @param isQuiet whether nothing is to be shown
   * @param plainEvery steps between two lines where there is no terminal
   */
  public Progress(Console console, boolean isQuiet, long plainEvery, LongSupplier nanoTime) {
    this.console = console;
    this.isQuiet = isQuiet;
    this.plainEvery = Math.max(1, plainEvery);
    this.nanoTime = nanoTime;
  }

  public void accept(WorkerEvent event) {
    if (isQuiet) {
      return;
    }
    if (event instanceof WorkerEvent.Started started) {
      started(started.summary());
    } else if (event instanceof WorkerEvent.StepFinished finished) {
      stepFinished(finished.step());
    } else if (event instanceof WorkerEvent.Evaluated evaluated) {
      evaluation = Optional.of(evaluated.evaluation());
      if (!console.isTerminal()) {
        console.line(
            "step "
                + evaluated.step()
                + "  evaluation loss "
                + Quantities.evaluation(evaluated.evaluation()));
      }
    } else if (event instanceof WorkerEvent.Resumed resumed) {
      console.line("going on from step " + resumed.step() + ", saved in " + resumed.directory());
    } else if (event instanceof WorkerEvent.CheckpointSaved saved && !console.isTerminal()) {
      console.line("step " + saved.step() + "  checkpoint saved in " + saved.directory());
    }
  }

  /** Ends the live line. */
  public void end() {
    console.endLive();
  }

  private void started(JobSummary summary) {
    lastStep = summary.lastStep();
    unit = summary.unit().label();
    console.line(
        String.format(
            Locale.ROOT,
            "%s: %s with %s parameters, %s, %s; %d %s; %s %s a step, %s",
            summary.name(),
            summary.model(),
            Quantities.count(summary.parameters()),
            summary.precision(),
            summary.engine(),
            summary.worldSize(),
            summary.worldSize() == 1 ? "rank" : "ranks",
            Quantities.count(summary.itemsPerStep()),
            unit,
            summary.firstStep() > summary.lastStep()
                ? "all " + summary.lastStep() + " steps done before"
                : "steps " + summary.firstStep() + " to " + summary.lastStep()));
  }

  private void stepFinished(StepRecord step) {
    skippedSteps += step.isSkipped() ? 1 : 0;
    long now = nanoTime.getAsLong();
    if (firstStepDone == 0) {
      firstStepDone = step.step();
      firstStepNanos = now;
      itemsPerSecond = step.itemsPerSecond();
    } else {
      itemsPerSecond += SMOOTHING * (step.itemsPerSecond() - itemsPerSecond);
    }
    boolean isEnd = step.step() == lastStep || step.step() == firstStepDone;
    if (console.isTerminal()) {
      if (isEnd || now - drawnNanos >= REDRAW_NANOS) {
        drawnNanos = now;
        console.live(text(step, now));
      }
    } else if (isEnd || step.step() % plainEvery == 0) {
      console.line(text(step, now));
    }
  }

  private String text(StepRecord step, long now) {
    StringBuilder text = new StringBuilder();
    text.append("step ").append(step.step()).append('/').append(lastStep);
    text.append("  loss ").append(Quantities.loss(step.loss()));
    text.append("  ").append(Quantities.count(itemsPerSecond));
    text.append(' ').append(unit).append("/s");
    long timedSteps = step.step() - firstStepDone;
    if (timedSteps > 0) {
      double secondsPerStep = (now - firstStepNanos) / 1e9 / timedSteps;
      double left = secondsPerStep * (lastStep - step.step());
      text.append("  left ").append(Quantities.duration(left));
    }
    evaluation.ifPresent(last -> text.append("  eval ").append(Quantities.evaluation(last)));
    if (skippedSteps > 0) {
      text.append("  skipped ").append(skippedSteps);
    }
    return text.toString();
  }
}
