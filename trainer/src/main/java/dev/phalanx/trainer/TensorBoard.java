package dev.phalanx.trainer;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A job's curves in TensorBoard, where the plan asks for them. Where they cannot be written any
 * more, because a disk is full, say, the log says so once, and the job goes on without them.
 */
final class TensorBoard implements Closeable {
  private static final Logger LOGGER = LoggerFactory.getLogger(TensorBoard.class);

  private final long flushEvery;
  private final Unit unit;
  private @Nullable TensorBoardFile file;

  /** What writes some numbers. */
  private interface Writing {
    void to(TensorBoardFile file) throws IOException;
  }

  private TensorBoard(@Nullable TensorBoardFile file, long flushEvery, Unit unit) {
    this.file = file;
    this.flushEvery = flushEvery;
    this.unit = unit;
  }

  /**
   * @param folder empty: nothing is written
   * @param flushEvery steps after which what was written can be seen
   * @param unit that speeds are measured in
   * @throws IOException where nothing can be written there from the start
   */
  static TensorBoard open(Optional<Path> folder, long flushEvery, Unit unit) throws IOException {
    return new TensorBoard(
        folder.isPresent() ? TensorBoardFile.create(folder.get()) : null, flushEvery, unit);
  }

  void step(StepRecord step) {
    write(
        open -> {
          open.scalar("train/loss", step.step(), step.loss());
          if (!step.isSkipped()) {
            open.scalar("train/grad_norm", step.step(), step.gradientNorm());
          }
          if (step.lossScale().isPresent()) {
            open.scalar("train/loss_scale", step.step(), step.lossScale().getAsDouble());
          }
          if (step.expertLoad().isPresent()) {
            open.scalar("train/expert_load", step.step(), step.expertLoad().getAsDouble());
          }
          open.scalar("train/lr", step.step(), step.learningRate());
          open.scalar("train/" + unit.label() + "_per_second", step.step(), step.itemsPerSecond());
          if (step.step() % flushEvery == 0) {
            open.flush();
          }
        });
  }

  void evaluation(long step, Evaluation evaluation) {
    write(
        open -> {
          open.scalar("evaluation/loss", step, evaluation.loss());
          if (evaluation.accuracy().isPresent()) {
            open.scalar("evaluation/accuracy", step, evaluation.accuracy().getAsDouble());
          }
          open.flush();
        });
  }

  private void write(Writing writing) {
    TensorBoardFile open = file;
    if (open == null) {
      return;
    }
    try {
      writing.to(open);
    } catch (IOException e) {
      file = null;
      closeBeside(open, e);
      LOGGER.warn(
          "log.tensorboard: nothing more can be written to {} ({}). Training goes on without it.",
          open.path(),
          e.getMessage());
    }
  }

  private static void closeBeside(TensorBoardFile open, IOException failure) {
    try {
      open.close(); // which tries once more to write
    } catch (IOException e) {
      failure.addSuppressed(e);
    }
  }

  @Override
  public void close() {
    write(TensorBoardFile::close);
    file = null;
  }
}
