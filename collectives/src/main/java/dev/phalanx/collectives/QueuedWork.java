package dev.phalanx.collectives;

import dev.phalanx.collectives.transport.Call;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BiFunction;

/** An operation that waits for its turn, runs or has ended. */
final class QueuedWork implements Work {
  /** An operation's body. */
  interface Body {
    void run() throws InterruptedException;
  }

  private final Call call;
  private final Body body;
  private final Helper helper;
  private final BiFunction<QueuedWork, Duration, CollectiveException> onTimeout;
  private final CompletableFuture<Optional<CollectiveException>> ended = new CompletableFuture<>();

  /** Lets the thread that waits do the work. */
  interface Helper {
    void help(QueuedWork awaited) throws InterruptedException;
  }

  /**
   * @param helper called by a thread that begins to wait without a deadline of its own
   * @param onTimeout called when somebody has waited longer than he wanted: ends the communicator
   *     and tells why
   */
  QueuedWork(
      Call call,
      Body body,
      Helper helper,
      BiFunction<QueuedWork, Duration, CollectiveException> onTimeout) {
    this.call = call;
    this.body = body;
    this.helper = helper;
    this.onTimeout = onTimeout;
  }

  Call call() {
    return call;
  }

  /**
   * On the thread that runs operations.
   *
   * @param beforeDone is called before anybody hears that it is done
   */
  void run(Runnable beforeDone) throws InterruptedException {
    body.run();
    beforeDone.run();
    ended.complete(Optional.empty());
  }

  void fail(CollectiveException failure) {
    ended.complete(Optional.of(failure));
  }

  @Override
  public void await(Duration deadline) throws InterruptedException {
    try {
      throwFailure(ended.get(deadline.toNanos(), TimeUnit.NANOSECONDS));
    } catch (ExecutionException e) {
      throw neverFails(e);
    } catch (TimeoutException e) {
      throw onTimeout.apply(this, deadline);
    }
  }

  /** Every operation ends in time, so there is no deadline here. */
  @Override
  public void await() throws InterruptedException {
    helper.help(this);
    try {
      throwFailure(ended.get());
    } catch (ExecutionException e) {
      throw neverFails(e);
    }
  }

  private static void throwFailure(Optional<CollectiveException> failure) {
    if (failure.isPresent()) {
      throw Failure.forCaller(failure.get());
    }
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
