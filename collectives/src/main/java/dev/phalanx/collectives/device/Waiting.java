package dev.phalanx.collectives.device;

/** Waits for other ranks, and counts how long: what overlap did not hide. */
public final class Waiting {
  /** What waits. */
  @FunctionalInterface
  public interface Blocking {
    void run() throws InterruptedException;
  }

  private long nanos;

  public void await(Blocking wait) throws InterruptedException {
    long start = System.nanoTime();
    try {
      wait.run();
    } finally {
      nanos += System.nanoTime() - start;
    }
  }

  /** In the midst of a pass, where no checked exception can be thrown. */
  public void awaitInPass(Blocking wait) {
    try {
      await(wait);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedWaitException(e);
    }
  }

  public long nanos() {
    return nanos;
  }
}
