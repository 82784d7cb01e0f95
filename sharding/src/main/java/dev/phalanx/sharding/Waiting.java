package dev.phalanx.sharding;

/** Waits for other ranks, and counts how long: what overlap did not hide. */
final class Waiting {
  /** What waits. */
  @FunctionalInterface
  interface Blocking {
    void run() throws InterruptedException;
  }

  private long nanos;

  void await(Blocking wait) throws InterruptedException {
    long start = System.nanoTime();
    try {
      wait.run();
    } finally {
      nanos += System.nanoTime() - start;
    }
  }

  /** In the midst of a pass, where no checked exception can be thrown. */
  void awaitInPass(Blocking wait) {
    try {
      await(wait);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedWaitException(e);
    }
  }

  long nanos() {
    return nanos;
  }
}
