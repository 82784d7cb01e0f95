package dev.phalanx.collectives.transport.shm;

import java.util.concurrent.locks.LockSupport;

/**
 * How a thread waits for memory that another process changes: it looks again and again for as long
 * as waking a sleeping thread would take, lets others run, then sleeps for longer and longer times.
 * Where the host has fewer cores than ranks it does not spin, for the one it waits for may need the
 * core.
 */
final class Pause {
  private static final int SPINS = 2000; // about 50 microseconds
  private static final int YIELDS = 200;
  private static final long SHORTEST_NANOS = 20_000;
  private static final long LONGEST_NANOS = 500_000;

  private final int spins;
  private int count;
  private long nanos;

  Pause(int ranks) {
    this.spins = ranks <= Runtime.getRuntime().availableProcessors() ? SPINS : 20;
  }

  /** A wait begins. */
  void reset() {
    count = 0;
    nanos = SHORTEST_NANOS;
  }

  /**
   * Waits a little.
   *
   * @return whether enough time has passed that deadlines are worth looking at
   */
  boolean once() {
    count++;
    if (count <= spins) {
      Thread.onSpinWait();
      return false;
    }
    if (count <= spins + YIELDS) {
      Thread.yield();
      return count % 16 == 0;
    }
    LockSupport.parkNanos(nanos);
    nanos = Math.min(LONGEST_NANOS, nanos * 2);
    return true;
  }
}
