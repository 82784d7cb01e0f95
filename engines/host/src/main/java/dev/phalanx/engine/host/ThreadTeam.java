package dev.phalanx.engine.host;

import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Some threads that take part in the work of the one that calls. Between two calls they spin for a
 * moment before they sleep: kernels follow each other within microseconds, and to wake a thread
 * takes longer than many a kernel.
 *
 * <p>One thread at a time calls {@link #run}.
 */
final class ThreadTeam implements AutoCloseable {
  private static final long SPIN_NANOS = 100_000;
  private static final int SPINS_PER_LOOK_AT_THE_CLOCK = 64;

  private final Helper[] helpers;
  private final AtomicInteger running = new AtomicInteger();
  private final AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
  private List<Runnable> tasks = List.of();
  private volatile long round;
  private volatile @Nullable Thread waiting;
  private volatile boolean isClosed;

  /**
   * @param size threads that work, the calling one among them
   */
  ThreadTeam(int size, String name) {
    this.helpers = new Helper[size - 1];
    for (int i = 0; i < helpers.length; i++) {
      helpers[i] = new Helper(i + 1, name + "-" + (i + 1));
      helpers[i].setDaemon(true);
      helpers[i].start();
    }
  }

  /**
   * Runs one task on each thread, the first on the calling one, and returns when all are done.
   *
   * @param work as many tasks as the team has threads, or fewer
   */
  void run(List<Runnable> work) {
    if (isClosed) {
      throw new IllegalStateException(
          "The engine's threads were asked to work after it was closed");
    }
    tasks = work;
    running.set(helpers.length);
    round = round + 1; // publishes the tasks; only this thread writes it
    for (Helper helper : helpers) {
      helper.wake();
    }
    attempt(work.get(0));
    awaitHelpers();
    tasks = List.of();
    Throwable thrown = failure.getAndSet(null);
    if (thrown instanceof RuntimeException exception) {
      throw exception;
    }
    if (thrown instanceof Error error) {
      throw error;
    }
  }

  private void attempt(Runnable task) {
    try {
      task.run();
    } catch (RuntimeException | Error e) {
      failure.compareAndSet(null, e);
    }
  }

  private void awaitHelpers() {
    if (!spinUntilAllDone()) {
      waiting = Thread.currentThread();
      while (running.get() > 0) {
        LockSupport.park(this);
      }
      waiting = null;
    }
  }

  private boolean spinUntilAllDone() {
    long end = System.nanoTime() + SPIN_NANOS;
    for (int spin = 1; running.get() > 0; spin++) {
      Thread.onSpinWait();
      if (spin % SPINS_PER_LOOK_AT_THE_CLOCK == 0 && System.nanoTime() > end) {
        return false;
      }
    }
    return true;
  }

  /** Ends the threads and returns when they have. */
  @Override
  public void close() {
    isClosed = true;
    boolean wasInterrupted = false;
    for (Helper helper : helpers) {
      LockSupport.unpark(helper);
      while (helper.isAlive()) {
        try {
          helper.join();
        } catch (InterruptedException e) {
          wasInterrupted = true;
        }
      }
    }
    if (wasInterrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private final class Helper extends Thread {
    private final int number;
    private volatile boolean isAsleep;

    Helper(int number, String name) {
      super(name);
      this.number = number;
    }

    void wake() {
      if (isAsleep) {
        LockSupport.unpark(this);
      }
    }

    @Override
    public void run() {
      long done = 0;
      while (awaitRoundAfter(done)) {
        done = round;
        List<Runnable> work = tasks;
        if (number < work.size()) {
          attempt(work.get(number));
        }
        if (running.decrementAndGet() == 0) {
          Thread caller = waiting;
          if (caller != null) {
            LockSupport.unpark(caller);
          }
        }
      }
    }

    /** Whether there is one; false once the team is closed. */
    private boolean awaitRoundAfter(long done) {
      long end = System.nanoTime() + SPIN_NANOS;
      for (int spin = 1; round == done && !isClosed; spin++) {
        Thread.onSpinWait();
        if (spin % SPINS_PER_LOOK_AT_THE_CLOCK == 0 && System.nanoTime() > end) {
          isAsleep = true; // before the last look, so that whoever starts a round sees it
          while (round == done && !isClosed) {
            LockSupport.park(this);
          }
          isAsleep = false;
        }
      }
      return !isClosed;
    }
  }
}
