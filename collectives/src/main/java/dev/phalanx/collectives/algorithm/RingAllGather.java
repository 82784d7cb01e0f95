package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Ring all-gather (Patarasuk and Yuan, 2009): every rank's part goes around the ring once.
 *
 * <p>Cost: (n - 1) α + (n - 1) / n m β, m being the bytes of the output.
 */
public final class RingAllGather {
  private RingAllGather() {}

  /**
   * @param input [k]; may be this rank's slice of {@code output}
   * @param output [n * k]
   */
  public static void run(Exchange exchange, Tensor input, Tensor output)
      throws InterruptedException {
    int rank = exchange.rank();
    int size = exchange.size();
    Chunk own = exchange.part(output, rank);
    Copies.copy(exchange.whole(input), own);
    for (int piece = 0; piece < own.pieces(); piece++) {
      exchange.send(exchange.neighbour(1), own.piece(piece));
    }
    for (int step = 0; step < size - 1; step++) {
      Chunk chunk = exchange.part(output, rank - step - 1);
      passOn(exchange, chunk, step < size - 2);
    }
    exchange.flush();
  }

  /**
   * Receives a chunk from the rank before and, unless it has been everywhere, sends it to the rank
   * after.
   */
  static void passOn(Exchange exchange, Chunk chunk, boolean isSentOn) throws InterruptedException {
    for (int piece = 0; piece < chunk.pieces(); piece++) {
      ByteBuffer values = chunk.piece(piece);
      exchange.receive(exchange.neighbour(-1), values);
      if (isSentOn) {
        exchange.send(exchange.neighbour(1), values);
      }
    }
  }
}
