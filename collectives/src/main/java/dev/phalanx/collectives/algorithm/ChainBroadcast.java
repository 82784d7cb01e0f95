package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.Tensor;

/**
 * Pipelined chain broadcast: the root sends pieces to the rank after it, which passes each on while
 * the next one comes in.
 *
 * <p>Cost: (n - 1 + p) (α + m / p β) for p pieces, close to m β for large tensors whatever n is.
 */
public final class ChainBroadcast {
  private ChainBroadcast() {}

  static double cost(int ranks, long bytes, int pieceBytes, LinkCost link) {
    double piece = Math.min(pieceBytes, bytes);
    return (ranks - 1) * (link.alphaNanos() + piece * link.betaNanos()) + bytes * link.betaNanos();
  }

  public static void run(Exchange exchange, Tensor tensor, int root) throws InterruptedException {
    Chunk whole = exchange.whole(tensor);
    int next = exchange.neighbour(1);
    if (exchange.rank() == root) {
      exchange.send(next, whole);
    } else {
      RingAllGather.passOn(exchange, whole, next != root);
    }
    exchange.flush();
  }
}
