package dev.phalanx.trainer;

import java.nio.file.Path;

/**
 * Hears how a job goes on. Called on the rank's own thread, on rank 0 only unless a method says
 * otherwise.
 */
public interface JobListener {
  /** Hears nothing. */
  JobListener NONE = new JobListener() {};

  /** The model is built and the ranks agree on the start. */
  default void started(JobSummary summary) {}

  default void stepFinished(StepRecord step) {}

  /** What held-out data say after {@code step} steps. */
  default void evaluated(long step, Evaluation evaluation) {}

  /** A checkpoint of this step is published; called on the thread that wrote it. */
  default void checkpointSaved(long step, Path directory) {}

  /**
   * The job ends because of this; called on every rank, before its memory and connections are
   * closed, which may take a while and which other ranks notice.
   *
   * @param statistics of this rank until then
   */
  default void failed(Throwable failure, RankStatistics statistics) {}

  /** The job went on from a checkpoint of this step. */
  default void resumed(long step, Path directory) {}

  /** Hears of a rank what this interface promises of it: of others than rank 0, failures alone. */
  static JobListener ofRank(int rank, JobListener listener) {
    return rank == 0
        ? listener
        : new JobListener() {
          @Override
          public void failed(Throwable failure, RankStatistics statistics) {
            listener.failed(failure, statistics);
          }
        };
  }
}
