package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Linear gather: every rank sends its part to the root. The root's link is the limit whatever the
 * order.
 *
 * <p>Cost: α + (n - 1) / n m β; all ranks but the root send their part.
 */
public final class LinearGather {
  private LinearGather() {}

  /**
   * @param output the parts of all, on the root
   */
  public static void run(
      Exchange exchange, Tensor input, @Nullable Tensor output, Parts parts, int root)
      throws InterruptedException {
    if (output == null) {
      exchange.send(root, exchange.whole(input));
    } else {
      Copies.copy(exchange.whole(input), parts.chunk(exchange, output, root));
      Chunk[] others = new Chunk[exchange.size()]; // by distance
      int pieces = 0;
      for (int distance = 1; distance < others.length; distance++) {
        others[distance] = parts.chunk(exchange, output, exchange.neighbour(distance));
        pieces = Math.max(pieces, others[distance].pieces());
      }
      for (int piece = 0; piece < pieces; piece++) { // of each in turn: nobody waits for all others
        for (int distance = 1; distance < others.length; distance++) {
          exchange.receive(exchange.neighbour(distance), others[distance], piece);
        }
      }
    }
    exchange.flush();
  }
}
