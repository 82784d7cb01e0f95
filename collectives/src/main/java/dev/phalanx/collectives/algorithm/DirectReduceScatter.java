package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

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
    Chunk result = exchange.whole(output).orInPlaceOf(own);
    Chunk[] others = new Chunk[exchange.size()]; // by distance
    for (int distance = 1; distance < others.length; distance++) {
      others[distance] = exchange.part(input, exchange.neighbour(distance));
    }
    DType dtype = input.dtype();
    int last = others.length - 1;
    Ahead.run(
        exchange,
        own.pieces(), // all parts are equal
        piece -> {
          for (int distance = 1; distance <= last; distance++) {
            exchange.send(exchange.neighbour(distance), others[distance], piece);
          }
        },
        piece -> {
          ByteBuffer values = own.piece(piece);
          ByteBuffer complete = result.equals(own) ? values : result.piece(piece);
          for (int distance = 1; distance <= last; distance++) {
            ByteBuffer into = distance == last ? complete : values;
            exchange.receiveAndReduce(
                exchange.neighbour(-distance), dtype, operation, values, into);
          }
          exchange.finishReduction(dtype, operation, complete);
        });
    exchange.flush();
  }
}
