package dev.phalanx.collectives;

import dev.phalanx.collectives.transport.Deadline;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * An operation of which somebody else tells how it has ended. For those who write communicators.
 */
public abstract class EventualWork implements Work {
  private final CompletableFuture<Optional<CollectiveException>> ended = new CompletableFuture<>();

  /** What {@link #await(Duration)} fails with: ends the communicator and tells why. */
  protected abstract CollectiveException timedOut(Duration waited) throws InterruptedException;

  public final void succeed() {
    ended.complete(Optional.empty());
  }

  public final void fail(CollectiveException failure) {
    ended.complete(Optional.of(failure));
  }

  @Override
  public final void await(Duration deadline) throws InterruptedException {
    if (!hasEndedWithin(deadline)) {
      throw timedOut(deadline);
    }
    throwFailure();
  }

  /** Waits for as long as it takes; throws the failure, if it failed. */
  protected final void awaitEnd() throws InterruptedException {
    try {
      ended.get();
    } catch (ExecutionException e) {
      throw neverFails(e);
    }
    throwFailure();
  }

  /** Waits until it has ended in one way or the other; whether it has. */
  public final boolean hasEndedWithin(Duration duration) throws InterruptedException {
    try {
      ended.get(Deadline.nanos(duration), TimeUnit.NANOSECONDS);
      return true;
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException e) {
      throw neverFails(e);
    }
  }

  private void throwFailure() {
    Optional<CollectiveException> failure = ended.join();
    if (failure.isPresent()) {
      throw forCaller(failure.get());
    }
  }

  /** A failure of the same kind with the caller's own stack, the first one as its cause. */
  public static CollectiveException forCaller(CollectiveException failure) {
    String message = String.valueOf(failure.getMessage());
    CollectiveException copy;
    if (failure instanceof CollectiveTimeoutException) {
      copy = new CollectiveTimeoutException(message);
    } else if (failure instanceof CollectiveMismatchException) {
      copy = new CollectiveMismatchException(message);
    } else {
      copy = new CollectiveException(message);
    }
    copy.initCause(failure);
    return copy;
  }

  private static IllegalStateException neverFails(ExecutionException e) {
    return new IllegalStateException("A failure is a value here", e);
  }

  @Override
  public final boolean isDone() {
    return ended.isDone();
  }

  @Override
  public final void whenDone(Runnable action) {
    ended.thenRun(
        () -> {
          try {
            action.run();
          } catch (RuntimeException | Error e) { // a future would keep it to itself
            Thread thread = Thread.currentThread();
            thread.getUncaughtExceptionHandler().uncaughtException(thread, e);
          }
        });
  }
}
