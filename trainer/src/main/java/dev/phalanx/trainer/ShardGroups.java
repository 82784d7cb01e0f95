package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ProcessGroups;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.sharding.DataGroups;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The data-parallel ranks in the groups that {@code sharding} asks for. Ranks that share a copy of
 * the model's state are neighbours, for these talk most and neighbours are on one host as a rule.
 *
 * @param own groups that were made for it and are closed with it
 */
record ShardGroups(DataGroups groups, List<Communicator> own) implements AutoCloseable {
  /** All ranks call it together. */
  static ShardGroups of(JobConfig.Sharding sharding, ProcessGroups ranks, Communicator world)
      throws IOException, InterruptedException {
    int size = world.size();
    int shards = sharding.shardSize() < 0 ? size : sharding.shardSize();
    if (sharding.zero() == 0) {
      return new ShardGroups(DataGroups.replicated(world), List.of());
    }
    if (shards == size) {
      return new ShardGroups(DataGroups.sharded(world), List.of());
    }
    int first = world.rank() / shards * shards;
    int place = world.rank() % shards;
    List<Communicator> own = new ArrayList<>();
    try {
      own.add(
          ranks.group(
              "shard[" + first / shards + "]",
              IntStream.range(first, first + shards).boxed().toList()));
      own.add(
          ranks.group(
              "replicas[" + place + "]",
              IntStream.range(0, size / shards).mapToObj(copy -> place + copy * shards).toList()));
      return new ShardGroups(DataGroups.hybrid(own.get(0), own.get(1)), own);
    } catch (IOException | InterruptedException | RuntimeException e) {
      own.forEach(Communicator::close);
      throw e;
    }
  }

  /** What this rank has sent to others that train on different data, in all their groups. */
  Traffic traffic(Communicator world) {
    long bytes = world.traffic().bytesSent();
    long messages = world.traffic().messagesSent();
    for (Communicator group : own) {
      bytes += group.traffic().bytesSent();
      messages += group.traffic().messagesSent();
    }
    return new Traffic(bytes, messages);
  }

  @Override
  public void close() {
    own.forEach(Communicator::close);
  }
}
