package dev.phalanx.collectives.transport;

import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Counts the messages to each peer whose payload is still needed.
 *
 * <p>Threads: any. The lock is taken only where the last message is done or somebody waits.
 */
public final class Outstanding {
  private final AtomicIntegerArray counts;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();

  public Outstanding(int peers) {
    this.counts = new AtomicIntegerArray(peers);
  }

  public void sent(int peer) {
    counts.incrementAndGet(peer);
  }

  public void done(int peer) {
    if (counts.decrementAndGet(peer) == 0) {
      wake();
    }
  }

  /** Lets waiting threads look at the peers' state again. */
  public void wake() {
    lock.lock();
    try {
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Why a peer will never read its messages, or null. */
  public interface Loss {
    @org.jspecify.annotations.Nullable
    String of(int peer);
  }

  /** Waits until nothing is outstanding. */
  public void await(Deadline deadline, Loss loss) throws InterruptedException {
    for (int peer = 0; peer < counts.length(); peer++) {
      if (counts.get(peer) > 0) {
        await(peer, deadline, loss);
      }
    }
  }

  private void await(int peer, Deadline deadline, Loss loss) throws InterruptedException {
    lock.lockInterruptibly();
    try {
      while (counts.get(peer) > 0) {
        String reason = loss.of(peer);
        if (reason != null && counts.get(peer) > 0) { // it may have read all just before it left
          throw new PeerLostException(peer, reason);
        }
        if (changed.awaitNanos(deadline.remainingNanos()) <= 0 && counts.get(peer) > 0) {
          throw new ReceiveTimeoutException(peer, deadline);
        }
      }
    } finally {
      lock.unlock();
    }
  }
}
