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

/** This module's own models in the loop. */
final class TransformerTraining implements TrainedModel {
  private final Arenas arenas;
  private final TrainingState state;
  private final RankGroups groups;
  private final StepRunner steps;
  private final Optional<Evaluator> evaluator;
  private final Checkpointing checkpoints;

  TransformerTraining(
      Arenas arenas,
      TrainingState state,
      RankGroups groups,
      StepRunner steps,
      Optional<Evaluator> evaluator,
      Checkpointing checkpoints) {
    this.arenas = arenas;
    this.state = state;
    this.groups = groups;
    this.steps = steps;
    this.evaluator = evaluator;
    this.checkpoints = checkpoints;
  }

  @Override
  public StepOutcome step(long step, BooleanSupplier stopRequested) throws InterruptedException {
    return steps.run(step, stopRequested);
  }

  @Override
  public Optional<Evaluation> evaluate() throws InterruptedException {
    return evaluator.isPresent() ? Optional.of(evaluator.get().run()) : Optional.empty();
  }

  @Override
  public void save(long done) throws InterruptedException {
    checkpoints.save(done);
  }

  @Override
  public void finish() throws InterruptedException, IOException {
    checkpoints.finish();
    state.memory().settle();
  }

  @Override
  public Optional<Path> newestCheckpoint() {
    return checkpoints.newest();
  }

  @Override
  public Memory memory() {
    return new Memory(
        state.memory().parameterBytes(),
        state.memory().gradientBytes(),
        state.optimizerBytes(),
        arenas.step().peakBytesInUse());
  }

  @Override
  public double waitedMillis() {
    return (state.exposedNanos() + steps.waitedNanos()) / 1e6;
  }

  @Override
  public Map<Axis, Traffic> traffic() {
    return groups.traffic();
  }

  @Override
  public @Nullable CompressionStatistics compression() {
    return state.memory().compressionStatistics().orElse(null);
  }

  @Override
  public void abandon() {
    groups.close();
  }
}
