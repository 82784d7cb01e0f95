package dev.phalanx.trainer;

import dev.phalanx.collectives.Traffic;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.sharding.compression.CompressionStatistics;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * One rank's part of a model in training, as {@link TrainingLoop} sees it: a transformer of this
 * module, or a network of another library. All ranks make the same calls in the same order.
 */
public interface TrainedModel {
  /** What this rank keeps, in bytes. */
  record Memory(long parameters, long gradients, long optimizer, long peakActivations) {}

  /**
   * Forward, backward, the sum over ranks, the update.
   *
   * @param step from 0
   * @param stopRequested whether this rank wants the job to stop after this step
   * @throws NotFiniteException where the loss or the gradient is none; the parameters are then
   *     unchanged
   */
  StepOutcome step(long step, BooleanSupplier stopRequested)
      throws InterruptedException, IOException;

  /** On held-out data; empty where there is none. */
  Optional<Evaluation> evaluate() throws InterruptedException, IOException;

  /**
   * Saves a checkpoint, in a plan that has a folder for them.
   *
   * @param done steps
   */
  void save(long done) throws InterruptedException;

  /** Returns when everything that is to be saved is on disk. */
  void finish() throws InterruptedException, IOException;

  /** The newest checkpoint, which may be the one that the job went on from; on rank 0. */
  Optional<Path> newestCheckpoint();

  Memory memory();

  /** Time that this rank has waited for others so far, between its steps too. */
  double waitedMillis();

  /** What this rank has sent so far for the sake of each axis. */
  Map<Axis, Traffic> traffic();

  /** Of gradients; null where nothing is compressed. */
  @Nullable CompressionStatistics compression();

  /**
   * Leaves the other ranks after a failure, before memory is freed that they may still read or
   * write.
   */
  void abandon();
}
