package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.Tensor;

/**
 * Direct all-gather: every rank sends its part to each other one.
 *
 * <p>Cost: α + (n - 1) / n m β, and α / 2 for each further peer; a rank sends n - 1 times its part.
 */
public final class DirectAllGather {
  private DirectAllGather() {}

  static double cost(int ranks, long bytes, LinkCost link) {
    return DirectReduceScatter.cost(ranks, bytes, link);
  }

  /**
   * @param input this rank's part; may be its slice of {@code output}
   * @param output the parts of all
   */
  public static void run(Exchange exchange, Tensor input, Tensor output, Parts parts)
      throws InterruptedException {
    Chunk own = exchange.whole(input);
    for (int distance = 1; distance < exchange.size(); distance++) {
      exchange.send(exchange.neighbour(distance), own);
    }
    Copies.copy(own, parts.chunk(exchange, output, exchange.rank()));
    for (int distance = 1; distance < exchange.size(); distance++) {
      int peer = exchange.neighbour(-distance);
      exchange.receive(peer, parts.chunk(exchange, output, peer));
    }
    exchange.flush();
  }
}
