package dev.phalanx.trainer;

import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.data.DataException;
import dev.phalanx.trainer.data.DataPreparation;
import dev.phalanx.trainer.data.TrainingData;
import java.io.IOException;
import java.nio.file.Path;

/**
 * What can be found out about a job before its processes start: whether its files are there and fit
 * each other. Text is encoded here, once, where that has to be done and the workers find it done.
 */
public final class Preflight {
  private Preflight() {}

  /**
   * @param worldSize ranks that will run it
   * @param encoding hears how far a text's encoding is, where it has to be done
   * @throws dev.phalanx.trainer.config.ConfigurationException where sizes that a file gives do not
   *     fit the ranks, or the schedule does not fit the job
   * @throws DataException where the data is missing or does not fit the model, with the place in
   *     the plan
   * @throws dev.phalanx.checkpoint.BadCheckpointException where a weights directory contradicts the
   *     plan
   * @throws IOException where a file cannot be read
   */
  public static void check(
      ParsedPlan plan, Path baseDirectory, int worldSize, DataPreparation.Progress encoding)
      throws IOException {
    try {
      checkFiles(plan, baseDirectory, worldSize, encoding);
    } catch (DataException e) {
      throw e.keyPath().isEmpty() ? e : e.at(plan.positions().of(e.keyPath()).toString());
    }
  }

  private static void checkFiles(
      ParsedPlan plan, Path baseDirectory, int worldSize, DataPreparation.Progress encoding)
      throws IOException {
    JobConfig config = plan.config();
    if (!(config.model() instanceof JobConfig.Transformer)) {
      ModelFamily.of(config).check(plan, baseDirectory);
      return;
    }
    try (DataSetup data = DataSetup.open(config.data(), baseDirectory, encoding)) {
      ModelSetup model = ModelSetup.of(config, baseDirectory, data.vocabulary());
      PipelinePlan.checked(plan, model, baseDirectory, worldSize);
      double heldOut = config.evaluation().every() > 0 ? config.evaluation().fraction() : 0;
      try (TrainingData samples =
          data.samples(model.config().sequence(), model.config().vocabulary(), heldOut)) {
        samples.training(); // opened and checked; nothing to read yet
      }
    }
  }
}
