package dev.phalanx.trainer;

import java.nio.file.Path;
import java.util.Optional;

/**
 * How a job ended on this rank.
 *
 * @param steps the steps done in all, earlier runs included
 * @param lastLoss the last step's loss, or NaN where no step was done
 * @param itemsPerSecond in the unit, of the steps alone
 * @param lastCheckpoint the newest checkpoint that this run published
 */
public record JobResult(
    Outcome outcome,
    long steps,
    double lastLoss,
    Optional<Evaluation> lastEvaluation,
    double seconds,
    Unit unit,
    double itemsPerSecond,
    long peakResidentBytes,
    Optional<Path> lastCheckpoint,
    Optional<Path> report) {
  /** The ways in which a job ends without an error. */
  public enum Outcome {
    COMPLETED,
    /** A stop was asked for; the job can be resumed. */
    STOPPED
  }
}
