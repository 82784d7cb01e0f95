package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.Work;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** An operation that waits for its turn, is on the stream or has ended. */
final class NcclWork implements Work {
  private static final long LOOK_MILLIS = 1000;

  private final String title;
  private final long sequence;
  private final Runnable launch;
  private final CommandQueue queue;
  private final CompletableFuture<Optional<CollectiveException>> ended = new CompletableFuture<>();
  private int mark; // of the queue's thread

  /**
   * @param title {@code all_reduce}, for instance
   * @param sequence the operation's number in its group, or -1 for one that has none
   * @param launch puts the operation on the stream
   */
  NcclWork(String title, long sequence, Runnable launch, CommandQueue queue) {
    this.title = title;
    this.sequence = sequence;
    this.launch = launch;
    this.queue = queue;
  }

  /** {@code all_reduce #7}. */
  String title() {
    return sequence < 0 ? title : title + " #" + sequence;
  }

  void launch() {
    launch.run();
  }

  void setMark(int mark) {
    this.mark = mark;
  }

  int mark() {
    return mark;
  }

  void succeed() {
    ended.complete(Optional.empty());
  }

  void fail(CollectiveException failure) {
    ended.complete(Optional.of(failure));
  }

  /** Waits until it has ended in one way or the other; whether it has. */
  boolean hasEndedWithin(long millis) throws InterruptedException {
    try {
      ended.get(millis, TimeUnit.MILLISECONDS);
      return true;
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException e) {
      throw neverFails(e);
    }
  }

  @Override
  public void await(Duration deadline) throws InterruptedException {
    try {
      throwFailure(ended.get(deadline.toNanos(), TimeUnit.NANOSECONDS));
    } catch (ExecutionException e) {
      throw neverFails(e);
    } catch (TimeoutException e) {
      throw queue.timedOut(this, deadline);
    }
  }

  /** The queue's thread keeps the deadline, unless a call of the driver keeps the thread. */
  @Override
  public void await() throws InterruptedException {
    while (!hasEndedWithin(LOOK_MILLIS)) {
      queue.requireAlive(this);
    }
    throwFailure(ended.join());
  }

  private static void throwFailure(Optional<CollectiveException> failure) {
    if (failure.isPresent()) {
      throw forCaller(failure.get());
    }
  }

  /** A failure of the same kind with the caller's own stack, the first one as its cause. */
  static CollectiveException forCaller(CollectiveException failure) {
    String message = String.valueOf(failure.getMessage());
    CollectiveException copy =
        failure instanceof CollectiveTimeoutException
            ? new CollectiveTimeoutException(message)
            : new CollectiveException(message);
    copy.initCause(failure);
    return copy;
  }

  private static IllegalStateException neverFails(ExecutionException e) {
    return new IllegalStateException("A failure is a value here", e);
  }

  @Override
  public boolean isDone() {
    return ended.isDone();
  }

  @Override
  public void whenDone(Runnable action) {
    ended.whenComplete((nothing, failure) -> action.run());
  }
}
