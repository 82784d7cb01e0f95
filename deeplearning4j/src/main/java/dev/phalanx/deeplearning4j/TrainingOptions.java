package dev.phalanx.deeplearning4j;

import dev.phalanx.sharding.compression.Compression;
import java.nio.file.Path;
import java.util.Optional;
import org.nd4j.linalg.dataset.api.preprocessor.Normalizer;

/**
 * How a network is trained on several ranks; equal on all of them.
 *
 * @param compression of gradients on their way between ranks. It needs an engine on the class path
 * @param checkpoints where and when they are saved
 * @param optimizer one of ours, in the place of the network's updater. It needs an engine on the
 *     class path
 * @param normalizer what was done to the data, which checkpoints' {@code network.zip} then holds
 */
public record TrainingOptions(
    Optional<Compression> compression,
    Optional<Checkpoints> checkpoints,
    Optional<NetworkOptimizer> optimizer,
    Optional<Normalizer<?>> normalizer) {
  /** Gradients go as they are, the network's updater updates, and nothing is saved. */
  public static final TrainingOptions DEFAULT =
      new TrainingOptions(Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty());

  /**
   * Checkpoints of a run.
   *
   * @param folder one run's own; those of an earlier run that is not resumed are moved aside
   * @param everyIterations updates of the parameters between two; 0: only when asked to
   * @param keep how many stay
   */
  public record Checkpoints(Path folder, long everyIterations, int keep) {
    public Checkpoints {
      if (everyIterations < 0 || keep < 1) {
        throw new IllegalArgumentException(
            "Checkpoints every "
                + everyIterations
                + " iterations, of which "
                + keep
                + " stay: the first is 0 or more, the second 1 or more");
      }
    }
  }

  /** The same with gradients compressed. */
  public TrainingOptions withCompression(Compression codec) {
    return new TrainingOptions(Optional.of(codec), checkpoints, optimizer, normalizer);
  }

  /** The same with checkpoints. */
  public TrainingOptions withCheckpoints(Path folder, long everyIterations, int keep) {
    return new TrainingOptions(
        compression,
        Optional.of(new Checkpoints(folder, everyIterations, keep)),
        optimizer,
        normalizer);
  }

  /** The same with one of our optimizers. */
  public TrainingOptions withOptimizer(NetworkOptimizer ours) {
    return new TrainingOptions(compression, checkpoints, Optional.of(ours), normalizer);
  }

  /** The same with what was done to the data. */
  public TrainingOptions withNormalizer(Normalizer<?> fitted) {
    return new TrainingOptions(compression, checkpoints, optimizer, Optional.of(fitted));
  }
}
