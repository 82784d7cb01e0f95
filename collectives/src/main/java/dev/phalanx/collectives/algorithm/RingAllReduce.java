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
    int rank = exchange.rank();
    int size = exchange.size();
    if (size == 1) {
      exchange.finishReduction(whole.tensor().dtype(), operation, whole);
      return;
    }
    RingReduceScatter.around(exchange, whole, operation, rank, true);
    for (int step = 0; step < size - 1; step++) {
      RingAllGather.passOn(exchange, exchange.part(whole, rank - step), step < size - 2);
    }
  }
}
