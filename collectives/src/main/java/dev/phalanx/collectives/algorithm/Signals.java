package dev.phalanx.collectives.algorithm;

import java.nio.ByteBuffer;

/** Messages without content. */
final class Signals {
  private static final ByteBuffer NOTHING = ByteBuffer.allocateDirect(0);

  private Signals() {}

  static void to(Exchange exchange, int peer) {
    exchange.send(peer, NOTHING.duplicate());
  }

  static void from(Exchange exchange, int peer) throws InterruptedException {
    exchange.receive(peer, NOTHING.duplicate());
  }

  static void toAll(Exchange exchange) {
    exchange.sendToOthers(NOTHING.duplicate());
  }

  /** Returns when all have called it. */
  static void meet(Exchange exchange) throws InterruptedException {
    toAll(exchange);
    for (int distance = 1; distance < exchange.size(); distance++) {
      from(exchange, exchange.neighbour(-distance));
    }
    exchange.flush();
  }
}
