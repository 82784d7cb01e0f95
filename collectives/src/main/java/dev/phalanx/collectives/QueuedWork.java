package dev.phalanx.collectives;

import dev.phalanx.collectives.transport.Call;
import java.time.Duration;
import java.util.function.BiFunction;

/** An operation that waits for its turn, runs or has ended. */
final class QueuedWork extends EventualWork {
  /** An operation's body. */
  interface Body {
    void run() throws InterruptedException;
  }

  /** Lets the thread that waits do the work. */
  interface Helper {
    void help(QueuedWork awaited) throws InterruptedException;
  }

  private final Call call;
  private final Body body;
  private final Helper helper;
  private final BiFunction<QueuedWork, Duration, CollectiveException> onTimeout;

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
    succeed();
  }

  @Override
  protected CollectiveException timedOut(Duration waited) {
    return onTimeout.apply(this, waited);
  }

  /** Every operation ends in time, so there is no deadline here. */
  @Override
  public void await() throws InterruptedException {
    helper.help(this);
    awaitEnd();
  }
}
