package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.expert.ExpertGroup;
import dev.phalanx.parallelism.tensor.Replicas;
import dev.phalanx.parallelism.tensor.TensorGroup;

/**
 * The ranks that divide the layers that are here, seen from one of them.
 *
 * @param tensor they divide each matrix
 * @param expert they divide the experts of each layer, and have copies of the rest
 */
public record ModelRanks(TensorGroup tensor, ExpertGroup expert) {
  public ModelRanks {
    tensor = tensor.with(new Replicas(expert.rank(), expert.size()));
  }

  /** One rank, which has everything. */
  public static ModelRanks single() {
    return new ModelRanks(TensorGroup.single(), ExpertGroup.single());
  }

  /** What other ranks' share of everything is; it talks to nobody. */
  public ModelRanks as(int tensorRank, int expertRank) {
    return new ModelRanks(tensor.as(tensorRank), expert.as(expertRank));
  }
}
