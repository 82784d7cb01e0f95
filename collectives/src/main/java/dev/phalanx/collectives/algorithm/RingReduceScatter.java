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
    around(exchange, exchange.whole(input), operation, exchange.rank() - 1, false);
    exchange.flush();
    Chunk own = exchange.part(input, exchange.rank());
    Copies.copy(own, exchange.whole(output));
  }

  /**
   * Starts with the chunk {@code start} and receives the chunks before it, one a step.
   *
   * @param forwardsResult whether the last chunk, then complete, is sent on too
   */
  static void around(
      Exchange exchange, Chunk whole, ReduceOperation operation, int start, boolean forwardsResult)
      throws InterruptedException {
    int size = exchange.size();
    DType dtype = whole.tensor().dtype();
    int next = exchange.neighbour(1);
    int previous = exchange.neighbour(-1);
    exchange.send(next, exchange.part(whole, start));
    for (int step = 0; step < size - 1; step++) {
      boolean isComplete = step == size - 2;
      Chunk chunk = exchange.part(whole, start - step - 1);
      for (int piece = 0; piece < chunk.pieces(); piece++) {
        ByteBuffer values = chunk.piece(piece);
        exchange.receiveAndReduce(previous, dtype, operation, values);
        if (isComplete) {
          exchange.finishReduction(dtype, operation, values);
        }
        if (!isComplete || forwardsResult) {
          exchange.send(next, values);
        }
      }
    }
  }
}
