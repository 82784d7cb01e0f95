package dev.phalanx.collectives.algorithm;

/**
 * The order in which a rank does the steps of an operation with many pieces.
 *
 * <p>On one host each piece goes through all steps before the next one begins: the peer reads it
 * while it is in a cache that both share. Between hosts pieces are sent some way ahead of those
 * that are awaited, enough to fill a link whose answers take their time.
 */
final class Ahead {
  /** Pieces. */
  private static final int LEAD = 16;

  /** What is done with a piece. */
  interface Step {
    void at(int piece) throws InterruptedException;
  }

  private Ahead() {}

  /**
   * @param pieces of the longest chunk that is sent or awaited
   * @param steps in their order; what one of them sends, the next one of the peers awaits
   */
  static void run(Exchange exchange, int pieces, Step... steps) throws InterruptedException {
    int lead = exchange.topology().isOneHost() ? 0 : LEAD;
    for (int time = 0; time < pieces + lead * (steps.length - 1); time++) {
      for (int step = 0; step < steps.length; step++) {
        int piece = time - step * lead;
        if (piece >= 0 && piece < pieces) {
          steps[step].at(piece);
        }
      }
    }
  }
}
