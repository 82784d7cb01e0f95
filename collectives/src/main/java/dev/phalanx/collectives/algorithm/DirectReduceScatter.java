package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.Tensor;

/**
 * Direct reduce-scatter (pairwise exchange): every rank sends each other one the part that is
 * theirs, and adds up what comes for its own.
 *
 * <p>Cost: α + (n - 1) / n m β, and α / 2 for each further peer; a rank sends (n - 1) / n m bytes.
 */
public final class DirectReduceScatter {
  private DirectReduceScatter() {}

  static double cost(int ranks, long bytes, LinkCost link) {
    return ranks / 2.0 * link.alphaNanos() + (ranks - 1.0) / ranks * bytes * link.betaNanos();
  }

  /**
   * @param input [n * k]; serves as working memory
   * @param output [k]; may be this rank's slice of {@code input}
   */
  public static void run(Exchange exchange, Tensor input, Tensor output, ReduceOperation operation)
      throws InterruptedException {
    Chunk own = exchange.part(input, exchange.rank());
    for (int distance = 1; distance < exchange.size(); distance++) {
      int peer = exchange.neighbour(distance);
      exchange.send(peer, exchange.part(input, peer));
    }
    Chunk result = exchange.whole(output).orInPlaceOf(own);
    int last = exchange.size() - 1;
    for (int distance = 1; distance <= last; distance++) {
      int peer = exchange.neighbour(-distance);
      Chunk into = distance == last ? result : own; // what is complete goes where it belongs
      exchange.receiveAndReduce(peer, input.dtype(), operation, own, into);
    }
    exchange.finishReduction(input.dtype(), operation, result);
    exchange.flush();
  }
}
