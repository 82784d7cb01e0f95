package dev.phalanx.collectives.transport.nccl;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.EventualWork;
import java.time.Duration;

/** An operation that waits for its turn, is on the stream or has ended. */
final class NcclWork extends EventualWork {
  private static final Duration LOOK = Duration.ofSeconds(1);

  private final String title;
  private final long sequence;
  private final Runnable launch;
  private final CommandQueue queue;
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

  @Override
  protected CollectiveException timedOut(Duration waited) throws InterruptedException {
    return queue.timedOut(this, waited);
  }

  /** The queue's thread keeps the deadline, unless a call of the driver keeps the thread. */
  @Override
  public void await() throws InterruptedException {
    while (!hasEndedWithin(LOOK)) {
      queue.requireAlive(this);
    }
    awaitEnd();
  }
}
