package dev.phalanx.collectives;

import java.time.Duration;

/** An operation of a {@link Communicator} under way. Any thread may ask and wait. */
public interface Work {
  /**
   * Waits until the operation is done; its tensors may then be read and changed again. Whoever
   * waits may be the one that runs the operation: an interrupt of such a thread ends the operation,
   * and with it the group, on all ranks.
   *
   * @throws CollectiveException where it failed: it names the rank at fault and the operation
   * @throws CollectiveTimeoutException where the deadline passed first; the communicator is then of
   *     no further use
   */
  void await(Duration deadline) throws InterruptedException;

  /** {@link #await(Duration)} with the communicator's own deadline. */
  void await() throws InterruptedException;

  boolean isDone();

  /**
   * Runs {@code action} when the operation has ended, well or badly, on the thread that ran it: it
   * must not block. What it throws goes to that thread's handler of uncaught exceptions.
   */
  void whenDone(Runnable action);
}
