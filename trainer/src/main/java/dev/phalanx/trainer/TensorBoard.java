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

  private TensorBoard(@Nullable TensorBoardFile file, long flushEvery) {
    this.file = file;
    this.flushEvery = flushEvery;
  }

  /**
   * @param folder empty: nothing is written
   * @param flushEvery steps after which what was written can be seen
   */
  static TensorBoard open(Optional<Path> folder, long flushEvery) throws IOException {
    return new TensorBoard(
        folder.isPresent() ? TensorBoardFile.create(folder.get()) : null, flushEvery);
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
    file.scalar("train/lr", step.step(), step.learningRate());
    file.scalar("train/tokens_per_second", step.step(), step.tokensPerSecond());
    if (step.step() % flushEvery == 0) {
      file.flush();
    }
  }

  void evaluation(long step, double loss) throws IOException {
    if (file != null) {
      file.scalar("evaluation/loss", step, loss);
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
