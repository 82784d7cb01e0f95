package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.EventualWork;
import dev.phalanx.collectives.transport.Deadline;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * The thread that owns a group's {@link Nccl}: it puts operations on the stream in the order in
 * which they were handed over, without waiting for those before, and tells each when the stream has
 * passed it.
 *
 * <p>The first failure ends the queue: what runs on the device is aborted, and only then do the
 * operations fail, so that nobody frees memory which a kernel still uses.
 *
 * <p>Threads: {@link #submit} and {@link #close} by the communicator's caller, {@link #timedOut}
 * and {@link #requireAlive} by any that waits; all else by the queue's own.
 */
final class CommandQueue {
  /** How long whoever ends the queue waits for its thread to do so. */
  private static final long END_MILLIS = 2000;

  /** After the last sign of progress the thread looks without a pause for this long. */
  private static final long SPIN_NANOS = 100_000;

  private static final long PAUSE_NANOS = 20_000;

  /** A thread that has not come round for this much longer than the deadline is stuck. */
  private static final long STUCK_MILLIS = 5000;

  private static final String LATE =
      "NCCL does not tell for which rank it waits: one hangs, is gone or has called another"
          + " operation. See the logs of all ranks.";

  private final String where;
  private final String group;
  private final Nccl nccl;
  private final Duration timeout;
  private final Thread thread;
  private final Queue<NcclWork> waiting = new ConcurrentLinkedQueue<>();
  private final AtomicReference<@Nullable CollectiveException> failure = new AtomicReference<>();
  private volatile long lastRoundNanos = System.nanoTime();

  // The thread's own.
  private final ArrayDeque<NcclWork> onStream = new ArrayDeque<>();
  private @Nullable NcclWork launching;
  private long progressNanos; // when the first of onStream became the first, or a launch began
  private boolean hasJoined;

  /**
   * @param where {@code rank 3/8}, for messages
   * @param group the group's name
   * @param timeout how long an operation may take once those before it are done
   */
  CommandQueue(String where, String group, Nccl nccl, Duration timeout, String threadName) {
    this.where = where;
    this.group = group;
    this.nccl = nccl;
    this.timeout = timeout;
    this.thread = new Thread(this::run, threadName);
    thread.setDaemon(true);
  }

  /** Starts the thread, whose first operation it is to meet the other ranks. */
  NcclWork join(int size, byte[] id, int rank) {
    NcclWork joining = new NcclWork("join", -1, () -> nccl.join(size, id, rank), this);
    waiting.add(joining);
    thread.start();
    return joining;
  }

  NcclWork submit(String title, long sequence, Runnable launch) {
    NcclWork work = new NcclWork(title, sequence, launch, this);
    waiting.add(work);
    LockSupport.unpark(thread);
    CollectiveException failed = failure.get();
    if (failed != null && waiting.remove(work)) { // the thread may be gone
      work.fail(failed);
    }
    return work;
  }

  private void run() {
    try {
      while (failure.get() == null) {
        lastRoundNanos = System.nanoTime();
        NcclWork next = waiting.poll();
        if (next != null) {
          launch(next);
        }
        if (!completePassed() && next == null) {
          pause();
        }
      }
    } catch (Ended e) {
      // The failure is known; nothing is left but to end.
    } catch (Throwable e) { // whatever it is, those who wait must hear of it
      failure.compareAndSet(null, describe(e));
    }
    end();
  }

  private void launch(NcclWork work) {
    launching = work;
    if (onStream.isEmpty()) {
      progressNanos = System.nanoTime();
    }
    work.launch();
    settle();
    hasJoined = true; // the first one was to join
    work.setMark(nccl.mark());
    onStream.add(work);
    launching = null;
  }

  private void settle() {
    while (!nccl.isSettled()) {
      completePassed();
      requireTime();
      if (failure.get() != null) {
        throw new Ended();
      }
      pause();
    }
  }

  /** Whether any operation is done that was not before. */
  private boolean completePassed() {
    boolean isAnyDone = false;
    for (NcclWork first = onStream.peek();
        first != null && nccl.hasPassed(first.mark());
        first = onStream.peek()) {
      onStream.remove();
      first.succeed();
      progressNanos = System.nanoTime();
      isAnyDone = true;
    }
    if (!onStream.isEmpty() && !isAnyDone) {
      requireTime();
      if (launching == null) {
        nccl.isSettled(); // throws where a peer is gone or the network failed
      }
    }
    return isAnyDone;
  }

  private void requireTime() {
    if (System.nanoTime() - progressNanos > Deadline.nanos(timeout)) {
      throw new TimedOut();
    }
  }

  /** Between two looks at the device; for good where nothing is under way. */
  private void pause() {
    lastRoundNanos = System.nanoTime();
    if (onStream.isEmpty() && launching == null) {
      if (waiting.isEmpty() && failure.get() == null) {
        LockSupport.park(this);
      }
    } else if (lastRoundNanos - progressNanos < SPIN_NANOS) {
      Thread.onSpinWait();
    } else {
      LockSupport.parkNanos(this, PAUSE_NANOS);
    }
    Thread.interrupted(); // means nothing to this thread, but would keep it from sleeping
  }

  private void end() {
    CollectiveException failed = failure.get();
    if (failed == null) {
      throw new IllegalStateException("The queue of group " + group + " ended without a reason");
    }
    try {
      if (!hasLeft(failed)) {
        nccl.abort();
      }
    } catch (Throwable e) { // the others must still hear of the first failure
      failed.addSuppressed(e);
    }
    if (launching != null) {
      launching.fail(failed);
    }
    onStream.forEach(work -> work.fail(failed));
    for (NcclWork work = waiting.poll(); work != null; work = waiting.poll()) {
      work.fail(failed);
    }
  }

  /** A communicator that was closed in peace takes leave of the others, for as long as it may. */
  private boolean hasLeft(CollectiveException failed) {
    if (!(failed instanceof Closed) || !hasJoined || launching != null || !onStream.isEmpty()) {
      return false;
    }
    nccl.leave();
    Deadline deadline = Deadline.after(Duration.ofMillis(END_MILLIS / 2));
    while (!nccl.isSettled()) {
      if (deadline.hasPassed()) {
        return false;
      }
      LockSupport.parkNanos(this, PAUSE_NANOS);
    }
    nccl.free();
    return true;
  }

  private CollectiveException describe(Throwable found) {
    NcclWork blamed = launching != null ? launching : onStream.peek();
    if (found instanceof TimedOut) {
      NcclWork late = onStream.isEmpty() ? blamed : onStream.peek();
      return new CollectiveTimeoutException(
          where(late)
              + ": not done within "
              + Deadline.text(timeout)
              + ". "
              + LATE
              + " It may also be slower than communication.timeout_s allows.");
    }
    if (found instanceof NcclError) {
      return new CollectiveException(
          where(blamed)
              + ": "
              + found.getMessage()
              + ". Another rank's log may tell more; so does NCCL_DEBUG=WARN in the environment of"
              + " all ranks. Start the job again with --resume.",
          found);
    }
    return new CollectiveException(where(blamed) + ": " + found, found);
  }

  /** {@code rank 3/8 all_reduce #1204 in group tensor[0]}. */
  private String where(@Nullable NcclWork work) {
    return where + " " + (work == null ? "nccl" : work.title()) + " in group " + group;
  }

  /** Somebody has waited for longer than he wanted: ends the queue and tells why. */
  CollectiveException timedOut(NcclWork work, Duration waited) throws InterruptedException {
    CollectiveException found =
        new CollectiveTimeoutException(
            where(work) + ": not done within " + Deadline.text(waited) + ". " + LATE);
    CollectiveException first = failure.compareAndSet(null, found) ? found : failure.get();
    LockSupport.unpark(thread);
    work.hasEndedWithin(
        Duration.ofMillis(END_MILLIS)); // its memory is in use until the thread has aborted it
    return EventualWork.forCaller(first == null ? found : first);
  }

  /**
   * The driver's calls return at once; where one does not, whoever waits must not wait for ever.
   */
  void requireAlive(NcclWork work) throws InterruptedException {
    Duration allowed = Duration.ofNanos(Deadline.nanos(timeout)).plusMillis(STUCK_MILLIS);
    if (System.nanoTime() - lastRoundNanos > Deadline.nanos(allowed) && !work.isDone()) {
      throw timedOut(work, allowed);
    }
  }

  /** Ends the queue. What is under way fails. An interrupt does not end the wait. */
  void close() {
    failure.compareAndSet(null, new Closed(where + ": the communicator " + group + " is closed."));
    LockSupport.unpark(thread);
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(END_MILLIS);
    boolean isInterrupted = false;
    while (thread.isAlive() && System.nanoTime() < end) {
      try {
        thread.join(Math.max(1, TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime())));
      } catch (InterruptedException e) {
        isInterrupted = true;
      }
    }
    if (isInterrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** The failure of operations that come after, or are under way at, {@link #close}. */
  private static final class Closed extends CollectiveException {
    private static final long serialVersionUID = 1L;

    Closed(String message) {
      super(message);
    }
  }

  /** The deadline of what is first on the stream, or is being put there, has passed. */
  private static final class TimedOut extends RuntimeException {
    private static final long serialVersionUID = 1L;
  }

  /** Somebody else has set the failure. */
  private static final class Ended extends RuntimeException {
    private static final long serialVersionUID = 1L;
  }
}
