package dev.phalanx.collectives;

import dev.phalanx.collectives.algorithm.ChainBroadcast;
import dev.phalanx.collectives.algorithm.Copies;
import dev.phalanx.collectives.algorithm.DisseminationBarrier;
import dev.phalanx.collectives.algorithm.Exchange;
import dev.phalanx.collectives.algorithm.RingAllGather;
import dev.phalanx.collectives.algorithm.RingAllReduce;
import dev.phalanx.collectives.algorithm.RingReduceScatter;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.ReceiveTimeoutException;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Tensor;
import java.time.Duration;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The communicator over a {@link Transport}: calls are put into a queue, and a daemon thread runs
 * them, or a thread that waits for one of them. In a group of one rank every operation is done when
 * its call returns, and there is no thread.
 *
 * <p>The first failure ends the communicator: it is told to the peers, and every operation that
 * waits or comes later fails with it.
 */
public final class QueuedCommunicator implements Communicator {
  private static final long CLOSE_MILLIS = 2000;

  /** How long an operation that nobody waits for may stay in the queue; see {@link #idle}. */
  private static final long NAP_NANOS = 500_000;

  /** After a call the thread naps for this long instead of sleeping. */
  private static final long ACTIVE_NANOS = 50_000_000;

  private final String name;
  private final Transport transport;
  private final Exchange exchange;
  private final Queue<QueuedWork> queue = new ConcurrentLinkedQueue<>();
  private final ReentrantLock running = new ReentrantLock(); // whoever runs operations holds it
  private final AtomicReference<@Nullable CollectiveException> failure = new AtomicReference<>();
  private final @Nullable Thread thread;
  private final Object helping = new Object();
  private @Nullable Thread helper; // guarded by helping
  private volatile boolean isHelperInterrupted;
  private volatile boolean isAsleep;
  private volatile long lastSubmitNanos = System.nanoTime();
  private long sequence;
  private boolean isClosed;

  /**
   * @param name the group's name in messages, {@code world} or {@code tensor[0]}
   * @param transport closed together with the communicator
   * @param timeout how long a rank may keep the others waiting
   */
  public QueuedCommunicator(String name, Transport transport, Duration timeout) {
    this.name = name;
    this.transport = transport;
    this.exchange =
        new Exchange(transport, new Call(0, Operation.BARRIER, null, null, -1, 0), timeout);
    if (transport.size() == 1) {
      this.thread = null;
    } else {
      Thread started =
          new Thread(this::runQueue, name + "-rank-" + transport.rank() + "-communication");
      started.setDaemon(true);
      started.start();
      this.thread = started;
    }
  }

  @Override
  public String transport() {
    return transport.name();
  }

  @Override
  public boolean reads(Device device) {
    return device.isCpu();
  }

  @Override
  public int rank() {
    return transport.rank();
  }

  @Override
  public int size() {
    return transport.size();
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public Work allReduce(Tensor tensor, ReduceOperation operation) {
    requireUsable(tensor);
    requireReducible(tensor);
    return submit(
        call(Operation.ALL_REDUCE, tensor, operation, -1),
        () -> RingAllReduce.run(exchange, tensor, operation),
        () -> {});
  }

  @Override
  public Work reduceScatter(Tensor input, Tensor output, ReduceOperation operation) {
    requireUsable(input);
    requireUsable(output);
    requireReducible(input);
    requireParts(input, output);
    return submit(
        call(Operation.REDUCE_SCATTER, input, operation, -1),
        () -> RingReduceScatter.run(exchange, input, output, operation),
        () -> Copies.copy(input, output));
  }

  @Override
  public Work allGather(Tensor input, Tensor output) {
    requireUsable(input);
    requireUsable(output);
    requireParts(output, input);
    return submit(
        call(Operation.ALL_GATHER, output, null, -1),
        () -> RingAllGather.run(exchange, input, output),
        () -> Copies.copy(input, output));
  }

  @Override
  public Work broadcast(Tensor tensor, int root) {
    requireUsable(tensor);
    if (root < 0 || root >= size()) {
      throw new IllegalArgumentException(
          "Rank " + root + " cannot be the root in group " + name + " of " + size() + " ranks");
    }
    return submit(
        call(Operation.BROADCAST, tensor, null, root),
        () -> ChainBroadcast.run(exchange, tensor, root),
        () -> {});
  }

  @Override
  public Work barrier() {
    return submit(
        new Call(sequence++, Operation.BARRIER, null, null, -1, 0),
        () -> DisseminationBarrier.run(exchange),
        () -> {});
  }

  private Call call(
      Operation operation, Tensor tensor, @Nullable ReduceOperation reduction, int root) {
    return new Call(sequence++, operation, tensor.dtype(), reduction, root, tensor.elementCount());
  }

  private void requireUsable(Tensor tensor) {
    if (!tensor.isContiguous() || !reads(tensor.device())) {
      throw new IllegalArgumentException(
          "A collective operation of group "
              + name
              + " needs a contiguous tensor in host memory, not "
              + tensor);
    }
  }

  private static void requireReducible(Tensor tensor) {
    if (!Exchange.canReduce(tensor.dtype())) {
      throw new IllegalArgumentException("Elements of " + tensor + " cannot be reduced");
    }
  }

  private void requireParts(Tensor whole, Tensor part) {
    DType dtype = whole.dtype();
    if (part.dtype() != dtype || part.elementCount() * size() != whole.elementCount()) {
      throw new IllegalArgumentException(
          "In group "
              + name
              + " of "
              + size()
              + " ranks, "
              + whole
              + " is not made of parts "
              + part);
    }
  }

  /**
   * @param alone what the operation comes to in a group of one
   */
  private Work submit(Call call, QueuedWork.Body body, Runnable alone) {
    QueuedWork work =
        new QueuedWork(call, thread == null ? alone::run : body, this::help, this::timedOut);
    if (thread == null) {
      try {
        work.run();
      } catch (InterruptedException e) {
        throw new IllegalStateException("An operation of one rank does not wait", e);
      }
      return work;
    }
    queue.add(work);
    lastSubmitNanos = System.nanoTime();
    if (isAsleep) {
      LockSupport.unpark(thread);
    }
    CollectiveException failed = failure.get();
    if (failed != null && queue.remove(work)) { // the thread may have emptied the queue just before
      work.fail(failed);
    }
    return work;
  }

  private void runQueue() {
    try {
      while (failure.get() == null) {
        if (!queue.isEmpty() && running.tryLock()) {
          try {
            while (failure.get() == null && runNext()) {
              // on with the next
            }
          } finally {
            running.unlock();
          }
        }
        idle();
      }
    } catch (InterruptedException e) {
      // The communicator is closed and nothing runs.
    }
    failWaiting();
  }

  /** With the lock held; whether there was an operation. */
  private boolean runNext() {
    QueuedWork work = queue.poll();
    if (work == null) {
      return false;
    }
    try {
      exchange.begin(work.call());
      work.run();
    } catch (RuntimeException | Error e) {
      work.fail(fail(describe(work.call(), e)));
    } catch (InterruptedException e) {
      boolean isOurs = Thread.currentThread() == thread || isHelperInterrupted;
      work.fail(fail(isOurs ? closed(work.call()) : interrupted(work.call())));
      if (!isOurs) {
        Thread.currentThread().interrupt(); // it was meant for the caller, see help
      }
    }
    return true;
  }

  /**
   * Waits for work. Right after an operation the thread only naps: as a rule the next one is run by
   * the thread that waits for it ({@link #help}). Waking this one would take longer than a small
   * operation does, and two threads that take turns are moved about between the cores, where they
   * meet the other ranks' threads.
   */
  private void idle() throws InterruptedException {
    boolean isActive = System.nanoTime() - lastSubmitNanos < ACTIVE_NANOS;
    if (isActive || !queue.isEmpty()) { // not empty: a helper is at it
      LockSupport.parkNanos(this, NAP_NANOS);
    } else {
      isAsleep = true;
      if (queue.isEmpty() && failure.get() == null) {
        LockSupport.park(this);
      }
      isAsleep = false;
    }
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
  }

  /** A thread that waits for an operation runs it, and those before it, if nobody else does. */
  private void help(QueuedWork awaited) throws InterruptedException {
    if (thread == null || awaited.isDone()) {
      return;
    }
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
    if (!running.tryLock()) {
      return;
    }
    synchronized (helping) { // with interruptRunner
      helper = Thread.currentThread();
      isHelperInterrupted = false;
    }
    try {
      while (!awaited.isDone() && failure.get() == null && runNext()) {
        // on with the next
      }
    } finally {
      synchronized (helping) { // an interrupt of ours must not outlive the help
        helper = null;
        if (isHelperInterrupted) {
          Thread.interrupted();
        }
      }
      running.unlock();
    }
    if (failure.get() != null) {
      failWaiting();
      if (Thread.interrupted()) {
        throw new InterruptedException();
      }
    }
  }

  /** Ends the communicator; gives back the failure that came first. */
  private CollectiveException fail(CollectiveException found) {
    if (failure.compareAndSet(null, found)) {
      transport.abort(String.valueOf(found.getMessage()));
    }
    CollectiveException first = failure.get();
    return first == null ? found : first;
  }

  private void failWaiting() {
    CollectiveException failed = failure.get();
    for (QueuedWork work = queue.poll(); work != null; work = queue.poll()) {
      work.fail(failed == null ? closed(work.call()) : failed);
    }
  }

  private CollectiveException timedOut(QueuedWork work, Duration waited) {
    int peer = exchange.awaitedPeer();
    String whom = peer < 0 ? "" : "; it waits for rank " + peer;
    CollectiveException first =
        fail(
            new CollectiveTimeoutException(
                where(work.call()) + ": not done within " + Deadline.text(waited) + whom + "."));
    interruptRunner();
    return Failure.forCaller(first);
  }

  private void interruptRunner() {
    if (thread != null) {
      thread.interrupt();
    }
    synchronized (helping) { // with help
      Thread other = helper;
      if (other != null && other != Thread.currentThread()) {
        isHelperInterrupted = true;
        other.interrupt();
      }
    }
  }

  private CollectiveException describe(Call call, Throwable found) {
    if (found instanceof PeerLostException lost) {
      return new CollectiveException(
          where(call)
              + ": rank "
              + lost.peer()
              + " "
              + lost.getMessage()
              + ". Its own log tells why; start the job again with --resume.",
          lost);
    }
    if (found instanceof ReceiveTimeoutException late) {
      CollectiveTimeoutException timeout =
          new CollectiveTimeoutException(
              where(call)
                  + ": nothing was heard of rank "
                  + late.peer()
                  + " for "
                  + late.deadline().text()
                  + ". It hangs, or is slower than communication.timeout_s allows.");
      timeout.initCause(late);
      return timeout;
    }
    if (found instanceof CollectiveMismatchException) {
      CollectiveMismatchException mismatch =
          new CollectiveMismatchException(where(call) + ": " + found.getMessage());
      mismatch.initCause(found);
      return mismatch;
    }
    return new CollectiveException(where(call) + ": " + found, found);
  }

  private CollectiveException interrupted(Call call) {
    return new CollectiveException(
        where(call) + ": the thread that ran it was interrupted on this rank.");
  }

  private CollectiveException closed(Call call) {
    return new CollectiveException(where(call) + ": the communicator was closed on this rank.");
  }

  /** {@code rank 3/8 all_reduce #1204 in group tensor[0]}. */
  private String where(Call call) {
    return "rank " + rank() + "/" + size() + " " + call.title() + " in group " + name;
  }

  @Override
  public Traffic traffic() {
    return exchange.traffic();
  }

  @Override
  public void close() {
    if (isClosed) {
      return;
    }
    isClosed = true;
    if (thread != null) {
      failure.compareAndSet(
          null,
          new CollectiveException(
              "rank " + rank() + "/" + size() + ": the communicator " + name + " is closed."));
      interruptRunner();
      awaitRunner();
    }
    transport.close();
  }

  /**
   * Whoever runs an operation reads and writes memory that is freed next: an interrupt does not end
   * the wait.
   */
  private void awaitRunner() {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(CLOSE_MILLIS);
    boolean isInterrupted = false;
    boolean isDone = false;
    while (!isDone) {
      long left = end - System.nanoTime();
      try {
        isDone = left <= 0 || running.tryLock(left, TimeUnit.NANOSECONDS);
      } catch (InterruptedException e) {
        isInterrupted = true;
      }
    }
    if (running.isHeldByCurrentThread()) {
      running.unlock();
    }
    if (isInterrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
