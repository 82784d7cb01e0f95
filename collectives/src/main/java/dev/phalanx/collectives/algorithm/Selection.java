package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.collectives.transport.Topology;
import java.util.Map;

/**
 * Chooses the algorithm of an operation by modelled cost: of those that there are, the cheapest for
 * its size, the number of ranks and the links between them. Every rank chooses alike, for all that
 * goes in is the same on all.
 */
public final class Selection {
  /**
   * Ranks meet three times when they read each other's memory, which takes the longer the more of
   * them share a host's cores: for less than this times the square of their number, messages are
   * faster.
   */
  private static final long SHARED_FROM_BYTES = 128 * 1024;

  private final Algorithm wanted;
  private final Topology topology;
  private final int ranks;
  private final LinkCost link;
  private final LinkCost shared;
  private final boolean hasHierarchy;

  /**
   * @param wanted what the plan asks for
   */
  public Selection(Algorithm wanted, Topology topology) {
    this.wanted = wanted;
    this.topology = topology;
    this.ranks = topology.hosts().size();
    this.link = topology.slowest();
    int hosts = topology.ranksByHost().size();
    int sharing = topology.ranksOfHost(0);
    this.hasHierarchy = hosts > 1 && hosts < ranks;
    // Ranks of a host share its link: what all of them send to others goes through it.
    this.shared = new LinkCost(link.alphaNanos(), link.betaNanos() * (hosts > 1 ? sharing : 1));
  }

  /** Whether ranks that can read each other's memory should, for so many bytes. */
  public boolean isForSharedMemory(long bytes) {
    return (wanted == Algorithm.AUTO || wanted == Algorithm.DIRECT)
        && bytes >= SHARED_FROM_BYTES * ranks * ranks;
  }

  /** Of an all-reduce of so many bytes. */
  public Algorithm allReduce(long bytes) {
    double hierarchical =
        hasHierarchy ? HierarchicalAllReduce.cost(topology, bytes) : Double.POSITIVE_INFINITY;
    if (wanted == Algorithm.HIERARCHICAL && !hasHierarchy) {
      return Algorithm.RING; // one host, or one rank on each: nothing to divide
    }
    return choose(
        Map.of(
            Algorithm.RING, RingAllReduce.cost(ranks, bytes, link),
            Algorithm.TREE,
                DoubleBinaryTreeAllReduce.cost(ranks, bytes, topology.pieceBytes(), link),
            Algorithm.HALVING_DOUBLING, HalvingDoublingAllReduce.cost(ranks, bytes, shared),
            Algorithm.DIRECT, DirectAllReduce.cost(ranks, bytes, shared),
            Algorithm.HIERARCHICAL, hierarchical));
  }

  /** Of a reduce-scatter of so many bytes in all. */
  public Algorithm reduceScatter(long bytes) {
    return choose(
        Map.of(
            Algorithm.RING, RingReduceScatter.cost(ranks, bytes, link),
            Algorithm.DIRECT, DirectReduceScatter.cost(ranks, bytes, shared)));
  }

  /** Of an all-gather of so many bytes in all. */
  public Algorithm allGather(long bytes) {
    return choose(
        Map.of(
            Algorithm.RING, RingAllGather.cost(ranks, bytes, link),
            Algorithm.DIRECT, DirectAllGather.cost(ranks, bytes, shared)));
  }

  /** Of a broadcast, or of a reduction to one rank: {@code RING} is the chain. */
  public Algorithm toOrFromRoot(long bytes) {
    return choose(
        Map.of(
            Algorithm.RING, ChainBroadcast.cost(ranks, bytes, topology.pieceBytes(), link),
            Algorithm.TREE, BinaryTreeBroadcast.cost(ranks, bytes, topology.pieceBytes(), link)));
  }

  private Algorithm choose(Map<Algorithm, Double> costs) {
    if (costs.getOrDefault(wanted, Double.POSITIVE_INFINITY) < Double.POSITIVE_INFINITY) {
      return wanted;
    }
    Algorithm best = Algorithm.RING;
    for (Algorithm one : Algorithm.values()) { // in this order: the same on all ranks
      double cost = costs.getOrDefault(one, Double.POSITIVE_INFINITY);
      if (cost < costs.getOrDefault(best, Double.POSITIVE_INFINITY)) {
        best = one;
      }
    }
    return best;
  }
}
