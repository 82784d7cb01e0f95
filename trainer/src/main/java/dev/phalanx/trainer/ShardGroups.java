package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ProcessGroups;
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
 * @param own groups that were made for it and are closed with it: with hybrid sharding the ranks
 *     that share a copy with this one, and those that hold the same part of others
 */
record ShardGroups(DataGroups groups, List<Communicator> own) implements AutoCloseable {
  /**
   * All ranks call it together.
   *
   * @param data the data-parallel ranks
   * @param members their numbers in the job
   */
  static ShardGroups of(
      JobConfig.Sharding sharding, ProcessGroups ranks, Communicator data, List<Integer> members)
      throws IOException, InterruptedException {
    int size = data.size();
    int shards = shards(sharding, size);
    if (sharding.zero() == 0) {
      return new ShardGroups(DataGroups.replicated(data), List.of());
    }
    if (shards == size) {
      return new ShardGroups(DataGroups.sharded(data), List.of());
    }
    List<Integer> sharing = sharing(members, shards).get(data.rank() / shards);
    List<Integer> alike = replicas(members, shards).get(data.rank() % shards);
    List<Communicator> own = new ArrayList<>();
    try {
      own.add(ranks.group("shard[" + sharing.get(0) + "]", sharing));
      own.add(ranks.group("replicas[" + alike.get(0) + "]", alike));
      return new ShardGroups(DataGroups.hybrid(own.get(0), own.get(1)), own);
    } catch (IOException | InterruptedException | RuntimeException e) {
      own.forEach(Communicator::close);
      throw e;
    }
  }

  /**
   * How many ranks share a copy: neighbours, the first ones that many, then the next.
   *
   * @param size the data-parallel ranks
   */
  static int shards(JobConfig.Sharding sharding, int size) {
    if (sharding.zero() == 0) {
      return 1;
    }
    return sharding.shardSize() < 0 ? size : sharding.shardSize();
  }

  /** The ranks that share a copy, of one copy after the other. */
  static List<List<Integer>> sharing(List<Integer> members, int shards) {
    return IntStream.range(0, members.size() / shards)
        .mapToObj(copy -> members.subList(copy * shards, (copy + 1) * shards))
        .toList();
  }

  /** The ranks that hold the same part of all copies, of one part after the other. */
  static List<List<Integer>> replicas(List<Integer> members, int shards) {
    return IntStream.range(0, shards)
        .mapToObj(
            part ->
                IntStream.range(0, members.size() / shards)
                    .mapToObj(copy -> members.get(part + copy * shards))
                    .toList())
        .toList();
  }

  /** Where ranks that share a copy send to each other; none where all data-parallel ranks do. */
  List<Communicator> ofSharing() {
    return own.isEmpty() ? List.of() : own.subList(0, 1);
  }

  /** Where ranks that hold the same part of several shared copies send to each other. */
  List<Communicator> ofReplicas() {
    return own.isEmpty() ? List.of() : own.subList(1, 2);
  }

  @Override
  public void close() {
    own.forEach(Communicator::close);
  }
}
