package dev.phalanx.collectives.algorithm;

/**
 * The order in which a rank sends and receives many pieces at once: those that it sends go some way
 * ahead of those that it awaits. What is under way stays in cache until the peer has read it, and
 * is still enough to fill a link whose answers take their time.
 */
final class Ahead {
  /** Pieces. */
  private static final int LEAD = 8;

  /** What is done with a piece. */
  interface Step {
    void at(int piece) throws InterruptedException;
  }

  private Ahead() {}

  /**
   * @param pieces of the longest chunk that is sent or awaited
   */
  static void run(int pieces, Step send, Step receive) throws InterruptedException {
    for (int time = 0; time < pieces + LEAD; time++) {
      if (time < pieces) {
        send.at(time);
      }
      if (time >= LEAD) {
        receive.at(time - LEAD);
      }
    }
  }
}
