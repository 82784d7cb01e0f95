package dev.phalanx.trainer;

import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.SavedCheckpoint;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.model.TransformerConfig;

/** What a checkpoint's plan says about its model. */
public final class SavedModels {
  private SavedModels() {}

  /** The plan that the checkpoint was written with, every size filled in. */
  public static JobConfig plan(SavedCheckpoint checkpoint) {
    return JobConfigParser.parse(
            checkpoint.directory().resolve(CheckpointManifest.FILE).toString(),
            checkpoint.manifest().plan())
        .config();
  }

  /** The model's sizes. */
  public static TransformerConfig config(SavedCheckpoint checkpoint) {
    JobConfig.Model model = plan(checkpoint).model();
    return ModelSetup.sizes(model, model.vocab());
  }
}
