package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.util.Optional;

/**
 * The groups of one data-parallel rank: with {@code shard} it shares one copy of the model's state,
 * with {@code replicas} it holds the same shard.
 *
 * <pre>
 *   plain data parallelism   shard: none          replicas: all ranks
 *   ZeRO                     shard: all ranks     replicas: none
 *   hybrid                   shard: s neighbours  replicas: every s-th rank
 * </pre>
 */
public record DataGroups(Optional<Communicator> shard, Optional<Communicator> replicas) {
  /** Every rank holds everything. */
  public static DataGroups replicated(Communicator all) {
    return new DataGroups(Optional.empty(), Optional.of(all));
  }

  /** All ranks share one copy. */
  public static DataGroups sharded(Communicator all) {
    return new DataGroups(Optional.of(all), Optional.empty());
  }

  /**
   * @param shard the ranks that share a copy with this one
   * @param replicas the ranks that hold the same part of other copies
   */
  public static DataGroups hybrid(Communicator shard, Communicator replicas) {
    return new DataGroups(Optional.of(shard), Optional.of(replicas));
  }

  /** The one group of all ranks; empty where there are two, as hybrid sharding has. */
  Optional<Communicator> all() {
    return shard.isPresent() && replicas.isPresent() ? Optional.empty() : shard.or(() -> replicas);
  }

  /** Ranks that share one copy. */
  public int shards() {
    return shard.map(Communicator::size).orElse(1);
  }

  /** Which part this rank holds. */
  public int shardRank() {
    return shard.map(Communicator::rank).orElse(0);
  }

  /**
   * Memory that the ranks of a host read from each other, where there is such memory; else the
   * arena's. All ranks call together.
   */
  Tensor allocate(Arena arena, DType dtype, long elements) throws InterruptedException {
    if (arena.device().isCpu() && elements > 0) {
      Optional<Communicator> group = shard.or(() -> replicas);
      Optional<Storage> shared =
          group.isPresent()
              ? group.get().allocateShared(dtype.bytes(elements), arena.engine()::wrap)
              : Optional.empty();
      if (shared.isPresent()) {
        return Tensor.over(shared.get(), 0, dtype, Shape.of(elements));
      }
    }
    return arena.allocate(dtype, elements);
  }
}
