package dev.phalanx.launcher.worker;

import dev.phalanx.launcher.Failures;
import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.JobListener;
import dev.phalanx.trainer.JobSummary;
import dev.phalanx.trainer.RankStatistics;
import dev.phalanx.trainer.StepRecord;
import java.nio.file.Path;
import java.util.Optional;

/** Tells the launcher what a rank's job tells. */
final class RankListener implements JobListener {
  private final int rank;
  private final EventWriter events;
  private volatile boolean hasToldFailure;

  RankListener(int rank, EventWriter events) {
    this.rank = rank;
    this.events = events;
  }

  @Override
  public void started(JobSummary summary) {
    events.write(new WorkerEvent.Started(rank, summary));
  }

  @Override
  public void stepFinished(StepRecord step) {
    events.write(new WorkerEvent.StepFinished(rank, step));
  }

  @Override
  public void evaluated(long step, Evaluation evaluation) {
    events.write(new WorkerEvent.Evaluated(rank, step, evaluation));
  }

  @Override
  public void checkpointSaved(long step, Path directory) {
    events.write(new WorkerEvent.CheckpointSaved(rank, step, directory));
  }

  @Override
  public void failed(Throwable failure, RankStatistics statistics) {
    events.write(new WorkerEvent.Failed(rank, Failures.describe(failure), Optional.of(statistics)));
    hasToldFailure = true;
  }

  /** Whether the launcher knows already. */
  boolean hasToldFailure() {
    return hasToldFailure;
  }

  @Override
  public void resumed(long step, Path directory) {
    events.write(new WorkerEvent.Resumed(rank, step, directory));
  }
}
