package dev.phalanx.collectives.transport;

/**
 * How a thread waits before it sleeps: it looks again and again for about as long as waking a
 * sleeping thread would take, then lets others run. Where the host has fewer cores than ranks it
 * does not spin, for the one it waits for may need the core.
 *
 * <p>One thread.
 */
final class Pause {
  private static final long SPIN_NANOS = 50_000;
  private static final int YIELDS = 100;

  /** The clock is looked at once in so many turns. */
  private static final int TURNS = 16;

  private final boolean mustShareCores;
  private int turns;
  private int yields;
  private long endNanos;

  /**
   * @param ranks of this host
   */
  Pause(int ranks) {
    this.mustShareCores = ranks > Runtime.getRuntime().availableProcessors();
  }

  /** A wait begins. */
  void begin() {
    turns = 0;
    yields = 0;
    endNanos = 0;
  }

  /** Waits a little; whether it has been long enough that the thread should sleep. */
  boolean isOver() {
    if (!mustShareCores) {
      turns++;
      if (turns % TURNS != 0) {
        Thread.onSpinWait();
        return false;
      }
      long now = System.nanoTime();
      if (endNanos == 0) {
        endNanos = now + SPIN_NANOS;
      }
      if (now - endNanos < 0) {
        return false;
      }
    }
    if (yields < YIELDS) {
      yields++;
      Thread.yield();
      return false;
    }
    return true;
  }
}
