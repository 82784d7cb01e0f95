package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.Tensor;

/**
 * Ring all-reduce (Patarasuk and Yuan, 2009, "Bandwidth optimal all-reduce algorithms for clusters
 * of workstations"): a reduce-scatter around the ring, then an all-gather around the ring.
 *
 * <pre>
 *   chunk:        0      1      2              after n-1 steps each rank has
 *   rank 0  --> 0 ..                           one chunk of the sum, which then
 *   rank 1         --> 1 ..                    goes around once more
 *   rank 2                --> 2 ..
 * </pre>
 *
 * <p>Each chunk travels in pieces that are passed on as soon as they are in, so steps overlap.
 * Every rank gets the sum of a chunk from the one rank that completed it: the bits are the same
 * everywhere.
 *
 * <p>Cost: 2 (n - 1) α + 2 (n - 1) / n m β; a rank sends 2 (n - 1) / n m bytes.
 */
public final class RingAllReduce {
  private RingAllReduce() {}

  static double cost(int ranks, long bytes, LinkCost link) {
    return 2.0 * (ranks - 1) * (link.alphaNanos() + (double) bytes / ranks * link.betaNanos());
  }

  public static void run(Exchange exchange, Tensor tensor, ReduceOperation operation)
      throws InterruptedException {
    around(exchange, exchange.whole(tensor), operation);
    exchange.flush();
  }

  /** Without waiting for what was sent last. */
  static void around(Exchange exchange, Chunk whole, ReduceOperation operation)
      throws InterruptedException {
    for (int stage = 0; stage < stages(exchange.size()); stage++) {
      run(exchange, whole, operation, stage);
    }
  }

  /** Stages of {@link #run(Exchange, Chunk, ReduceOperation, int)}. */
  static int stages(int ranks) {
    return 2 * ranks - 1;
  }

  /**
   * One stage: in the first one a rank sends its own chunk, in each of the others it takes one from
   * the rank before, adds to it as long as it is not complete, and sends it on unless it has been
   * everywhere.
   */
  static void run(Exchange exchange, Chunk whole, ReduceOperation operation, int stage)
      throws InterruptedException {
    int rank = exchange.rank();
    int size = exchange.size();
    if (size == 1) {
      exchange.finishReduction(whole.tensor().dtype(), operation, whole);
    } else if (stage == 0) {
      exchange.send(exchange.neighbour(1), exchange.part(whole, rank));
    } else if (stage < size) {
      boolean isComplete = stage == size - 1;
      Chunk chunk = exchange.part(whole, rank - stage);
      RingReduceScatter.reduce(exchange, chunk, chunk, operation, isComplete, true);
    } else {
      boolean isSentOn = stage < 2 * size - 2;
      RingAllGather.passOn(exchange, exchange.part(whole, rank - stage + size), isSentOn);
    }
  }
}
