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
    Chunk place = parts.chunk(exchange, output, exchange.rank());
    Chunk[] others = new Chunk[exchange.size()]; // by distance
    int pieces = own.pieces();
    for (int distance = 1; distance < others.length; distance++) {
      others[distance] = parts.chunk(exchange, output, exchange.neighbour(-distance));
      pieces = Math.max(pieces, others[distance].pieces());
    }
    Ahead.run(
        exchange,
        pieces,
        piece -> {
          exchange.sendToOthers(own, piece);
          Copies.copy(own, place, piece);
        },
        piece -> {
          for (int distance = 1; distance < others.length; distance++) {
            exchange.receive(exchange.neighbour(-distance), others[distance], piece);
          }
        });
    exchange.flush();
  }
}
