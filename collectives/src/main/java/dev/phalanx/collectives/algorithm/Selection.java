package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.collectives.transport.Topology;
import java.util.List;

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

  /** Between a message in memory that ranks share and one through the system's network. */
  private static final double CHEAP_MESSAGE_NANOS = 5_000;

  private static final double NONE = Double.POSITIVE_INFINITY;

  /**
   * In the order in which costs are given, and in which equal ones are taken: two ranks send the
   * same directly and around a ring.
   */
  private static final List<Algorithm> FAMILIES =
      List.of(
          Algorithm.DIRECT,
          Algorithm.RING,
          Algorithm.TREE,
          Algorithm.HALVING_DOUBLING,
          Algorithm.HIERARCHICAL);

  /**
   * How many times as long bytes take that come to a host from several others at once: what each
   * sends comes in bursts, which the switch before the receiver drops. Measured with four hosts at
   * 100 Mbit/s: 655 ms for an all-gather that takes 529 ms around the ring.
   */
  private static final double CROWDING = 1.25;

  private final Algorithm wanted;
  private final Topology topology;
  private final int ranks;
  private final LinkCost link;
  private final LinkCost shared;
  private final LinkCost crowded;
  private final int hosts;
  private final int mostOfHost;

  /**
   * @param wanted what the plan asks for
   */
  public Selection(Algorithm wanted, Topology topology) {
    this.wanted = wanted;
    this.topology = topology;
    this.ranks = topology.hosts().size();
    this.link = topology.slowest();
    List<List<Integer>> ranksByHost = topology.ranksByHost();
    this.hosts = ranksByHost.size();
    this.mostOfHost = ranksByHost.stream().mapToInt(List::size).max().orElse(1);
    int sharing = topology.ranksOfHost(0);
    // Ranks of a host share its link: what all of them send to others goes through it.
    this.shared = new LinkCost(link.alphaNanos(), link.betaNanos() * (hosts > 1 ? sharing : 1));
    this.crowded = new LinkCost(link.alphaNanos(), shared.betaNanos() * (hosts > 2 ? CROWDING : 1));
  }

  /**
   * Whether ranks that can read each other's memory should, for so many bytes; always where the
   * plan asks for the direct way.
   */
  public boolean isForSharedMemory(long bytes) {
    return wanted == Algorithm.DIRECT
        || (wanted == Algorithm.AUTO && bytes >= SHARED_FROM_BYTES * ranks * ranks);
  }

  /** Of an all-reduce of so many bytes. */
  public Algorithm allReduce(long bytes) {
    boolean hasHierarchy = hosts > 1 && hosts < ranks;
    if (wanted == Algorithm.HIERARCHICAL && !hasHierarchy) {
      return Algorithm.RING; // one host, or one rank on each: nothing to divide
    }
    return choose(
        Math.min(DirectAllReduce.cost(ranks, bytes, crowded), twoShots(bytes)),
        RingAllReduce.cost(ranks, bytes, link),
        DoubleBinaryTreeAllReduce.cost(ranks, bytes, topology.pieceBytes(), link),
        HalvingDoublingAllReduce.cost(ranks, bytes, shared),
        hasHierarchy
            ? HierarchicalAllReduce.cost(
                mostOfHost, topology.within(), hosts, topology.between(), bytes)
            : NONE);
  }

  /**
   * What goes in one piece around a ring is in cache as well, and meets fewer ranks at once: where
   * messages cost next to nothing that decides.
   */
  private double twoShots(long bytes) {
    boolean hasPieces = bytes > (long) ranks * topology.pieceBytes();
    return hasPieces || link.alphaNanos() > CHEAP_MESSAGE_NANOS
        ? TwoShotAllReduce.cost(ranks, bytes, crowded)
        : NONE;
  }

  /** Whether a direct all-reduce of so many bytes takes two steps, and not one with more bytes. */
  public boolean isInTwoSteps(long bytes) {
    return TwoShotAllReduce.cost(ranks, bytes, crowded)
        < DirectAllReduce.cost(ranks, bytes, crowded);
  }

  /** Of a reduce-scatter of so many bytes in all. */
  public Algorithm reduceScatter(long bytes) {
    return choose(
        DirectReduceScatter.cost(ranks, bytes, crowded),
        RingReduceScatter.cost(ranks, bytes, link),
        NONE,
        NONE,
        NONE);
  }

  /** Of an all-gather of so many bytes in all. */
  public Algorithm allGather(long bytes) {
    return choose(
        DirectAllGather.cost(ranks, bytes, crowded),
        RingAllGather.cost(ranks, bytes, link),
        NONE,
        NONE,
        NONE);
  }

  /** Of a broadcast, or of a reduction to one rank: {@code RING} is the chain. */
  public Algorithm toOrFromRoot(long bytes) {
    return choose(
        NONE,
        ChainBroadcast.cost(ranks, bytes, topology.pieceBytes(), link),
        BinaryTreeBroadcast.cost(ranks, bytes, topology.pieceBytes(), link),
        NONE,
        NONE);
  }

  /** The family that the plan asks for where the operation has it, else the cheapest. */
  private Algorithm choose(double... costs) {
    int best = 0;
    for (int family = 0; family < costs.length; family++) {
      if (FAMILIES.get(family) == wanted && costs[family] < NONE) {
        return wanted;
      }
      if (costs[family] < costs[best]) {
        best = family;
      }
    }
    return FAMILIES.get(best);
  }
}
