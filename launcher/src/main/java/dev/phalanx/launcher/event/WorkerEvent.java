package dev.phalanx.launcher.event;

import dev.phalanx.launcher.Failure;
import dev.phalanx.launcher.bench.BenchmarkRow;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.JobSummary;
import dev.phalanx.trainer.RankStatistics;
import dev.phalanx.trainer.StepRecord;
import java.nio.file.Path;
import java.util.Optional;

/**
 * What a worker tells its launcher. Rank 0 tells how the job goes on; every rank tells how it
 * ended.
 */
public sealed interface WorkerEvent {
  int rank();

  record Started(int rank, JobSummary summary) implements WorkerEvent {}

  record StepFinished(int rank, StepRecord step) implements WorkerEvent {}

  record Evaluated(int rank, long step, Evaluation evaluation) implements WorkerEvent {}

  record CheckpointSaved(int rank, long step, Path directory) implements WorkerEvent {}

  record Resumed(int rank, long step, Path directory) implements WorkerEvent {}

  /** A benchmark has measured something. */
  record Measured(int rank, BenchmarkRow row) implements WorkerEvent {}

  /**
   * The rank's work ended without an error.
   *
   * @param result of a training job
   */
  record Finished(int rank, Optional<JobResult> result) implements WorkerEvent {}

  /**
   * @param statistics of a training job that had begun
   */
  record Failed(int rank, Failure failure, Optional<RankStatistics> statistics)
      implements WorkerEvent {}
}
