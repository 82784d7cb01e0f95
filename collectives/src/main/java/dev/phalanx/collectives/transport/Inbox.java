package dev.phalanx.collectives.transport;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * What one peer has sent and nobody has read yet. After the messages comes at most one end: the
 * reason why no more will come.
 *
 * <p>Threads: any may put, one takes.
 */
public final class Inbox {
  private sealed interface Entry {
    record Arrived(Message message) implements Entry {}

    record Ended(String reason) implements Entry {}
  }

  /** Waking a sleeping thread takes as long as these turns. */
  private static final int TURNS = 20;

  private final int peer;
  private final BlockingQueue<Entry> entries = new LinkedBlockingQueue<>();
  private volatile @Nullable String end;

  public Inbox(int peer) {
    this.peer = peer;
  }

  public void put(Message message) {
    entries.add(new Entry.Arrived(message));
  }

  /** The first reason counts; later ones are consequences. */
  public void end(String reason) {
    synchronized (this) { // a connection's end and an abort may race; rare
      if (end != null) {
        return;
      }
      end = reason;
    }
    entries.add(new Entry.Ended(reason));
  }

  /** Why no more will come, or null. Messages may still wait. */
  public @Nullable String endReason() {
    return end;
  }

  public Message take(Deadline deadline) throws InterruptedException {
    Entry entry = entries.poll();
    for (int turn = 0; entry == null && turn < TURNS; turn++) {
      Thread.yield(); // the thread that will put may need this core
      entry = entries.poll();
    }
    if (entry == null) {
      entry = entries.poll(Math.max(0, deadline.remainingNanos()), TimeUnit.NANOSECONDS);
    }
    if (entry == null) {
      throw new ReceiveTimeoutException(peer, deadline);
    }
    if (entry instanceof Entry.Arrived arrived) {
      return arrived.message();
    }
    entries.add(entry); // whoever asks again hears the same
    throw new PeerLostException(peer, ((Entry.Ended) entry).reason());
  }

  /** Closes what nobody will read. */
  public void discard() {
    entries.removeIf(
        entry -> {
          if (entry instanceof Entry.Arrived arrived) {
            arrived.message().close();
            return true;
          }
          return false;
        });
  }
}
