package dev.phalanx.collectives.transport.grpc;

import io.netty.channel.SingleThreadIoEventLoop;
import io.netty.channel.nio.NioIoHandler;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Netty's event loop for threads that take turns. Whoever sends or waits for a message runs the
 * loop himself, as long as nobody else does: a hand-over between threads takes longer than a small
 * message, and moves what a large one has brought from one core's cache to another's.
 *
 * <p>The loop's own thread, the keeper, runs it while nobody wants to: it then waits for sockets as
 * Netty's loops do. Soon after somebody else's turn it only naps and looks now and then, for the
 * next turn is likely to be his as well. Where threads of several groups wait for different
 * messages, it runs the loop for all of them.
 */
final class SharedEventLoop extends SingleThreadIoEventLoop {
  /** How long after another thread's turn the keeper naps instead of waiting for sockets. */
  private static final long ACTIVE_NANOS = TimeUnit.MILLISECONDS.toNanos(50);

  private static final long NAP_NANOS = TimeUnit.MICROSECONDS.toNanos(500);
  private static final long TASKS_NANOS = TimeUnit.MILLISECONDS.toNanos(1);

  private final ReentrantLock turn = new ReentrantLock(); // its holder is the event loop
  private final AtomicInteger sleepers = new AtomicInteger();
  private volatile @Nullable Thread holder; // of the turn
  private volatile @Nullable Thread keeper;
  private volatile long lastTurnNanos = System.nanoTime() - ACTIVE_NANOS; // of another thread
  private volatile boolean isKeeperWaiting;
  private boolean mayWait; // for sockets; the turn's holder's

  SharedEventLoop(String threadName) {
    super(null, new DefaultThreadFactory(threadName, true), NioIoHandler.newFactory());
  }

  // ------------------------------------------------------------------------- for other threads

  /** Makes the calling thread the event loop, where nobody is; it leaves again soon. */
  boolean tryEnter() {
    lastTurnNanos = System.nanoTime();
    if (!turn.tryLock()) {
      if (isKeeperWaiting) {
        wakeup(false); // it gives way
      }
      return false;
    }
    holder = Thread.currentThread();
    return true;
  }

  /** Runs what the caller has given the loop to do, and gives up the turn. */
  void leave() {
    try {
      runAllTasks(TASKS_NANOS);
    } finally {
      holder = null;
      turn.unlock();
    }
  }

  /** Reads and writes what can be, where nobody else is at it; whether anything was there. */
  boolean runOnce() {
    if (!tryEnter()) {
      return false;
    }
    int events;
    try {
      events = runIo();
    } finally {
      leave();
    }
    return events > 0;
  }

  /**
   * The calling thread is about to sleep, or is awake again: meanwhile the keeper runs the loop.
   */
  void beginSleep() {
    sleepers.incrementAndGet();
    Thread known = keeper;
    if (known != null) {
      LockSupport.unpark(known);
    }
  }

  void endSleep() {
    sleepers.decrementAndGet();
  }

  // ------------------------------------------------------------------------------- for Netty

  @Override
  public boolean inEventLoop(Thread thread) {
    return thread == holder;
  }

  /** Of a wait for sockets. Only the keeper may wait at all. */
  @Override
  protected long delayNanos(long currentTimeNanos) {
    return mayWait ? super.delayNanos(currentTimeNanos) : 0;
  }

  /** The keeper's. */
  @Override
  protected void run() {
    turn.lock();
    keeper = Thread.currentThread();
    holder = keeper;
    ioHandler().initialize();
    do {
      giveWay();
      isKeeperWaiting = true;
      mayWait = !isSomebodyActive(); // who came just before may not have seen that it waits
      runIo();
      mayWait = false;
      isKeeperWaiting = false;
      if (isShuttingDown()) {
        ioHandler().prepareToDestroy();
      }
      runAllTasks(TASKS_NANOS);
    } while (!confirmShutdown());
    // The turn stays with the keeper: Netty takes the loop apart on it.
  }

  private boolean isSomebodyActive() {
    return sleepers.get() == 0
        && System.nanoTime() - lastTurnNanos < ACTIVE_NANOS
        && !isShuttingDown();
  }

  private void giveWay() {
    if (isSomebodyActive()) {
      holder = null;
      turn.unlock();
      LockSupport.parkNanos(this, NAP_NANOS);
      turn.lock();
      holder = keeper;
    }
  }
}
