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
    Chunk whole = exchange.whole(input);
    around(exchange, whole, exchange.whole(output).orInPlaceOf(own(exchange, whole)), operation);
    exchange.flush();
  }

  /** Leaves each rank its part, in place; without waiting for what was sent last. */
  static void around(Exchange exchange, Chunk whole, ReduceOperation operation)
      throws InterruptedException {
    around(exchange, whole, own(exchange, whole), operation);
  }

  private static Chunk own(Exchange exchange, Chunk whole) {
    return exchange.part(whole, exchange.rank());
  }

  /**
   * @param result where this rank's part goes
   */
  private static void around(
      Exchange exchange, Chunk whole, Chunk result, ReduceOperation operation)
      throws InterruptedException {
    int rank = exchange.rank();
    int size = exchange.size();
    exchange.send(exchange.neighbour(1), exchange.part(whole, rank - 1));
    for (int step = 1; step < size; step++) {
      boolean isComplete = step == size - 1;
      Chunk chunk = exchange.part(whole, rank - 1 - step);
      Chunk into = isComplete ? result : chunk;
      reduce(exchange, chunk, into, operation, isComplete, !isComplete);
    }
  }

  /**
   * Takes a chunk from the rank before and adds this rank's values to it.
   *
   * @param into where the sums go: elsewhere, or {@code chunk} itself
   */
  static void reduce(
      Exchange exchange,
      Chunk chunk,
      Chunk into,
      ReduceOperation operation,
      boolean isComplete,
      boolean isSentOn)
      throws InterruptedException {
    DType dtype = chunk.tensor().dtype();
    for (int piece = 0; piece < chunk.pieces(); piece++) {
      ByteBuffer values = chunk.piece(piece);
      ByteBuffer sums = into.equals(chunk) ? values : into.piece(piece);
      exchange.receiveAndReduce(exchange.neighbour(-1), dtype, operation, values, sums);
      if (isComplete) {
        exchange.finishReduction(dtype, operation, sums);
      }
      if (isSentOn) {
        exchange.send(exchange.neighbour(1), sums);
      }
    }
  }
}
