package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Ring reduce-scatter (Patarasuk and Yuan, 2009): every chunk goes around the ring, and each rank
 * that it passes adds its own values; it ends at the rank that it belongs to.
 *
 * <p>Cost: (n - 1) α + (n - 1) / n m β.
 */
public final class RingReduceScatter {
  private RingReduceScatter() {}

  static double cost(int ranks, long bytes, LinkCost link) {
    return RingAllReduce.cost(ranks, bytes, link) / 2;
  }

  /**
   * @param input [n * k]; serves as working memory
   * @param output [k]; may be this rank's slice of {@code input}
   */
  public static void run(Exchange exchange, Tensor input, Tensor output, ReduceOperation operation)
      throws InterruptedException {
    around(exchange, exchange.whole(input), operation);
    exchange.flush();
    Chunk own = exchange.part(input, exchange.rank());
    Copies.copy(own, exchange.whole(output));
  }

  /** Leaves each rank its part, in place; without waiting for what was sent last. */
  static void around(Exchange exchange, Chunk whole, ReduceOperation operation)
      throws InterruptedException {
    int rank = exchange.rank();
    int size = exchange.size();
    exchange.send(exchange.neighbour(1), exchange.part(whole, rank - 1));
    for (int step = 1; step < size; step++) {
      boolean isComplete = step == size - 1;
      Chunk chunk = exchange.part(whole, rank - 1 - step);
      reduce(exchange, chunk, operation, isComplete, !isComplete);
    }
  }

  /** Takes a chunk from the rank before and adds this rank's values to it. */
  static void reduce(
      Exchange exchange,
      Chunk chunk,
      ReduceOperation operation,
      boolean isComplete,
      boolean isSentOn)
      throws InterruptedException {
    DType dtype = chunk.tensor().dtype();
    for (int piece = 0; piece < chunk.pieces(); piece++) {
      ByteBuffer values = chunk.piece(piece);
      exchange.receiveAndReduce(exchange.neighbour(-1), dtype, operation, values);
      if (isComplete) {
        exchange.finishReduction(dtype, operation, values);
      }
      if (isSentOn) {
        exchange.send(exchange.neighbour(1), values);
      }
    }
  }
}
