package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.tensor.Rows;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.tensor.autograd.Partition;
import java.util.List;
import java.util.Optional;

/**
 * Which heads of a layer a rank computes: as many query heads as every other rank, and the key and
 * value heads that they read. Where there are fewer of these than ranks, neighbours hold the same
 * one.
 */
public final class HeadShare {
  private final TransformerConfig config;
  private final TensorGroup.Share queries;
  private final TensorGroup.Share keyValues;
  private final Optional<Partition.Copies> copies; // of keys and values

  HeadShare(TransformerConfig config, TensorGroup group) {
    this.config = config;
    this.queries = group.share(config.heads());
    int ranksPerHead = ranksPerKeyValueHead(config.keyValueHeads(), group.size());
    this.copies =
        ranksPerHead == 1
            ? Optional.empty()
            : Optional.of(
                new Partition.Copies(
                    TensorGroup.KEY_VALUE_COPIES, group.rank() % ranksPerHead, true, false));
    this.keyValues =
        ranksPerHead == 1
            ? group.share(config.keyValueHeads())
            : new TensorGroup.Share(group.rank() / ranksPerHead, 1);
  }

  /** How many neighbours hold the same key and value heads. */
  public static int ranksPerKeyValueHead(long keyValueHeads, int ranks) {
    return keyValueHeads >= ranks ? 1 : Math.toIntExact(ranks / keyValueHeads);
  }

  long queries() {
    return queries.count();
  }

  long keyValues() {
    return keyValues.count();
  }

  /** Of the packed projection: this rank's queries, its keys, its values. */
  List<Rows> queryKeyValueRows() {
    long size = config.headSize();
    long keys = config.heads();
    long values = keys + config.keyValueHeads();
    return List.of(
        new Rows(queries.first() * size, queries.count() * size),
        new Rows((keys + keyValues.first()) * size, keyValues.count() * size, copies),
        new Rows((values + keyValues.first()) * size, keyValues.count() * size, copies));
  }

  /** What the projection after the attention reads of this rank's heads. */
  TensorGroup.Share projectionColumns() {
    return new TensorGroup.Share(
        queries.first() * config.headSize(), queries.count() * config.headSize());
  }
}
