package dev.phalanx.trainer;

import dev.phalanx.parallelism.mesh.DeviceMesh;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * What a job would be: the ranks' arrangement and what each of them would hold, compute and send.
 * Nothing is started.
 *
 * @param layers of the model
 * @param microBatches of one rank's step
 * @param tokensPerStep of all ranks
 * @param ranks each rank, or of many the first one alone: others have the same but for padding and,
 *     with muon, for which matrices are theirs to update
 */
public record JobPlan(
    DeviceMesh mesh, int layers, long microBatches, long tokensPerStep, List<Rank> ranks) {
  /** Of more ranks only the first one is looked at. */
  private static final int MOST_RANKS = 64;

  /** One rank's step. */
  public record Rank(int number, Rehearsal rehearsal) {}

  public JobPlan {
    ranks = List.copyOf(ranks);
  }

  /**
   * @param config of a plan that is valid for this number of ranks
   * @throws IOException where files that give the model's sizes cannot be read
   */
  public static JobPlan of(JobConfig config, Path baseDirectory, int worldSize)
      throws IOException, InterruptedException {
    boolean takesVocabularyFromData =
        config.model().vocab() == 0
            && !(config.model().init() instanceof JobConfig.Init.HuggingFace);
    ModelSetup setup =
        ModelSetup.of(
            config, baseDirectory, takesVocabularyFromData ? vocabulary(config, baseDirectory) : 0);
    List<Rank> ranks = new ArrayList<>();
    for (int rank = 0; rank < (worldSize <= MOST_RANKS ? worldSize : 1); rank++) {
      ranks.add(new Rank(rank, Rehearsal.of(config, setup, rank, worldSize)));
    }
    return new JobPlan(
        RankGroups.mesh(config.parallel(), worldSize),
        setup.config().layers(),
        config.microBatchesPerStep(worldSize),
        config.batch().global() * setup.config().sequence(),
        ranks);
  }

  private static long vocabulary(JobConfig config, Path baseDirectory) {
    try (DataSetup data = DataSetup.open(config.data(), baseDirectory)) {
      return data.vocabulary();
    }
  }

  /** Whether {@link #ranks} are not all. */
  public boolean isAbridged() {
    return ranks.size() < mesh.worldSize();
  }

  /** Floating-point operations of all ranks' step. */
  public double operationsPerStep() {
    double sum = ranks.stream().mapToDouble(rank -> rank.rehearsal().operations()).sum();
    return sum / ranks.size() * mesh.worldSize();
  }
}
