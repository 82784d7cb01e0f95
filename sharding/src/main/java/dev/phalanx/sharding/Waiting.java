package dev.phalanx.sharding;

/** Waits for other ranks, and counts how long: what overlap did not hide. */
final class Waiting {
  private long nanos;

  void await(DeviceCollectives.Pending pending) throws InterruptedException {
    long start = System.nanoTime();
    try {
      pending.await();
    } finally {
      nanos += System.nanoTime() - start;
    }
  }

  /** In the midst of a pass, where no checked exception can be thrown. */
  void awaitInPass(DeviceCollectives.Pending pending) {
    try {
      await(pending);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedWaitException(e);
    }
  }

  long nanos() {
    return nanos;
  }
}
