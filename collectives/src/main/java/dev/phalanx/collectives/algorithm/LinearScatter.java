package dev.phalanx.collectives.algorithm;

import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Linear scatter: the root sends each rank its part.
 *
 * <p>Cost: α + (n - 1) / n m β; the root sends (n - 1) / n m bytes.
 */
public final class LinearScatter {
  private LinearScatter() {}

  /**
   * @param input the parts of all, on the root
   */
  public static void run(
      Exchange exchange, @Nullable Tensor input, Tensor output, Parts parts, int root)
      throws InterruptedException {
    if (input == null) {
      exchange.receive(root, exchange.whole(output));
    } else {
      for (int distance = 1; distance < exchange.size(); distance++) {
        int peer = exchange.neighbour(distance);
        exchange.send(peer, parts.chunk(exchange, input, peer));
      }
      Copies.copy(parts.chunk(exchange, input, root), exchange.whole(output));
    }
    exchange.flush();
  }
}
