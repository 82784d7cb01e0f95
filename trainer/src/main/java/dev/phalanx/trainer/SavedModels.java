package dev.phalanx.trainer;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.SavedCheckpoint;
import dev.phalanx.trainer.config.ConfigurationException;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.model.TransformerConfig;

/** What a checkpoint's plan says about its model. */
public final class SavedModels {
  private SavedModels() {}

  /** The plan that the checkpoint was written with, every size filled in. */
  public static JobConfig plan(SavedCheckpoint checkpoint) {
    String file = checkpoint.directory().resolve(CheckpointManifest.FILE).toString();
    try {
      return JobConfigParser.parse(file, checkpoint.manifest().plan()).config();
    } catch (ConfigurationException e) {
      throw new BadCheckpointException(
          file
              + " has no plan of a transformer. It is damaged, or of a network of Deeplearning4j,"
              + " whose library reads the network.zip beside it.",
          e);
    }
  }

  /** The model's sizes. */
  public static TransformerConfig config(SavedCheckpoint checkpoint) {
    JobConfig.Transformer model = plan(checkpoint).transformer();
    return ModelSetup.sizes(model, model.vocab());
  }
}
