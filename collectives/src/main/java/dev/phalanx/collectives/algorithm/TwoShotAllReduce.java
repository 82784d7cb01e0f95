package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Direct all-reduce in two steps, as it is known from GPUs that reach each other directly: every
 * rank sends each other one the part that is theirs, adds up what comes for its own, and sends the
 * sum to all. One step, {@link DirectAllReduce}, is faster for small tensors.
 *
 * <p>Piece by piece ({@link Ahead}): a sum is sent on while it is in cache. Every rank gets the sum
 * of a part from the one rank that made it: the bits are the same everywhere.
 *
 * <p>Cost: 2 α + 2 (n - 1) / n m β, and α for each further peer; a rank sends 2 (n - 1) / n m
 * bytes.
 */
public final class TwoShotAllReduce {
  private TwoShotAllReduce() {}

  static double cost(int ranks, long bytes, LinkCost link) {
    return 2 * DirectReduceScatter.cost(ranks, bytes, link);
  }

  public static void run(Exchange exchange, Tensor tensor, ReduceOperation operation)
      throws InterruptedException {
    Chunk[] parts = new Chunk[exchange.size()]; // by distance, the own one first
    for (int distance = 0; distance < parts.length; distance++) {
      parts[distance] = exchange.part(tensor, exchange.neighbour(distance));
    }
    Chunk own = parts[0];
    DType dtype = tensor.dtype();
    Ahead.run(
        exchange,
        exchange.part(tensor, 0).pieces(), // the longest part is the first
        piece -> {
          for (int distance = 1; distance < parts.length; distance++) {
            exchange.send(exchange.neighbour(distance), parts[distance], piece);
          }
        },
        piece -> {
          if (piece < own.pieces()) {
            ByteBuffer values = own.piece(piece);
            for (int distance = 1; distance < parts.length; distance++) {
              exchange.receiveAndReduce(exchange.neighbour(-distance), dtype, operation, values);
            }
            exchange.finishReduction(dtype, operation, values);
            exchange.sendToOthers(own, piece);
          }
        },
        piece -> { // over what its owner has read, for it has sent the sum
          for (int distance = 1; distance < parts.length; distance++) {
            exchange.receive(exchange.neighbour(distance), parts[distance], piece);
          }
        });
    exchange.flush();
  }
}
