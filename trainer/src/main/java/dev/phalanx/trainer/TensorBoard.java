package dev.phalanx.trainer;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A job's curves in TensorBoard, where the plan asks for them. */
final class TensorBoard implements Closeable {
  private final @Nullable TensorBoardFile file;
  private final long flushEvery;
  private final Unit unit;

  private TensorBoard(@Nullable TensorBoardFile file, long flushEvery, Unit unit) {
    this.file = file;
    this.flushEvery = flushEvery;
    this.unit = unit;
  }

  /**
   * @param folder empty: nothing is written
   * @param flushEvery steps after which what was written can be seen
   * @param unit that speeds are measured in
   */
  static TensorBoard open(Optional<Path> folder, long flushEvery, Unit unit) throws IOException {
    return new TensorBoard(
        folder.isPresent() ? TensorBoardFile.create(folder.get()) : null, flushEvery, unit);
  }

  void step(StepRecord step) throws IOException {
    if (file == null) {
      return;
    }
    file.scalar("train/loss", step.step(), step.loss());
    if (!step.isSkipped()) {
      file.scalar("train/grad_norm", step.step(), step.gradientNorm());
    }
    if (step.lossScale().isPresent()) {
      file.scalar("train/loss_scale", step.step(), step.lossScale().getAsDouble());
    }
    if (step.expertLoad().isPresent()) {
      file.scalar("train/expert_load", step.step(), step.expertLoad().getAsDouble());
    }
    file.scalar("train/lr", step.step(), step.learningRate());
    file.scalar("train/" + unit.label() + "_per_second", step.step(), step.itemsPerSecond());
    if (step.step() % flushEvery == 0) {
      file.flush();
    }
  }

  void evaluation(long step, Evaluation evaluation) throws IOException {
    if (file != null) {
      file.scalar("evaluation/loss", step, evaluation.loss());
      if (evaluation.accuracy().isPresent()) {
        file.scalar("evaluation/accuracy", step, evaluation.accuracy().getAsDouble());
      }
      file.flush();
    }
  }

  @Override
  public void close() throws IOException {
    if (file != null) {
      file.close();
    }
  }
}
