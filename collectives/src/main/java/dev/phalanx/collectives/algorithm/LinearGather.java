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
      for (int distance = 1; distance < exchange.size(); distance++) {
        int peer = exchange.neighbour(distance);
        exchange.receive(peer, parts.chunk(exchange, output, peer));
      }
    }
    exchange.flush();
  }
}
