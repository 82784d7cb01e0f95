package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.function.IntFunction;

/**
 * Ring all-gather (Patarasuk and Yuan, 2009): every rank's part goes around the ring once.
 *
 * <p>Cost: (n - 1) α + (n - 1) / n m β, m being the bytes of the output.
 */
public final class RingAllGather {
  private RingAllGather() {}

  static double cost(int ranks, long bytes, LinkCost link) {
    return RingAllReduce.cost(ranks, bytes, link) / 2;
  }

  /**
   * @param input this rank's part; may be its slice of {@code output}
   * @param output the parts of all
   */
  public static void run(Exchange exchange, Tensor input, Tensor output, Parts parts)
      throws InterruptedException {
    Copies.copy(exchange.whole(input), parts.chunk(exchange, output, exchange.rank()));
    around(exchange, part -> parts.chunk(exchange, output, part));
    exchange.flush();
  }

  /** Each rank's part is in place; without waiting for what was sent last. */
  static void around(Exchange exchange, IntFunction<Chunk> parts) throws InterruptedException {
    int size = exchange.size();
    exchange.send(exchange.neighbour(1), parts.apply(exchange.rank()));
    for (int step = 0; step < size - 1; step++) {
      passOn(exchange, parts.apply(exchange.neighbour(-step - 1)), step < size - 2);
    }
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
