package dev.phalanx.collectives.algorithm;

/**
 * Dissemination barrier (Hensgen, Finkel and Manber, 1988, "Two algorithms for barrier
 * synchronization"): in round k a rank tells the one 2^k after it, and hears from the one 2^k
 * before, that all it knows of have come.
 *
 * <p>Cost: ⌈log2 n⌉ α.
 */
public final class DisseminationBarrier {
  private DisseminationBarrier() {}

  public static void run(Exchange exchange) throws InterruptedException {
    for (int distance = 1; distance < exchange.size(); distance *= 2) {
      Signals.to(exchange, exchange.neighbour(distance));
      Signals.from(exchange, exchange.neighbour(-distance));
    }
    exchange.flush();
  }
}
