package dev.phalanx.collectives.fault;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * One direction of all connections of a {@link FaultProxy}, and what goes wrong there. All methods
 * may be called by any thread while bytes are on their way.
 *
 * <p>Offsets count the bytes of one connection's stream as they were sent, from 0. A fault at an
 * offset happens once: to the first connection that comes to it. One that is past it already is
 * spared.
 */
public final class Direction {
  private static final long UNLIMITED = Long.MAX_VALUE;

  private final long handshakeBytes;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final List<Fault> faults = new ArrayList<>();
  private int faultsUnderWay;
  private long delayNanos;
  private long bytesPerSecond = UNLIMITED;
  private long freeAtNanos = System.nanoTime(); // when the line has carried all it was given
  private boolean isStopped;
  private boolean isClosed;
  private long deliveredBytes;

  Direction(long handshakeBytes) {
    this.handshakeBytes = handshakeBytes;
  }

  /** Nothing is delivered earlier than this after it came; the rate stays. */
  public void delay(Duration delay) {
    change(() -> delayNanos = delay.toNanos());
  }

  /** All connections together carry no more than this, in portions of a hundredth of a second. */
  public void limitRate(long maxBytesPerSecond) {
    if (maxBytesPerSecond < 1) {
      throw new IllegalArgumentException(
          "A rate of " + maxBytesPerSecond + " bytes per second; to let nothing pass, stop");
    }
    change(() -> bytesPerSecond = maxBytesPerSecond);
  }

  /**
   * Nothing passes any more, not even the end of a connection, and nobody is told: as if a cable
   * were pulled. Senders go on until the buffers are full.
   */
  public void stop() {
    change(() -> isStopped = true);
  }

  /** {@link #stop} when a stream comes to the offset. */
  public void stopAt(long offset) {
    arm(new Fault.Stop(offset));
  }

  /** Inverts a bit, from 0, the lowest, to 7, of the byte at the offset. */
  public void flipBitAt(long offset, int bit) {
    if (bit < 0 || bit > 7) {
      throw new IllegalArgumentException("A byte has the bits 0 to 7, not " + bit);
    }
    arm(new Fault.FlipBit(offset, bit));
  }

  /** Leaves out bytes from the offset on. */
  public void dropAt(long offset, long count) {
    arm(new Fault.Drop(offset, count));
  }

  /** The receiver sees an orderly end after as many bytes; the sender notices nothing. */
  public void truncateAt(long offset) {
    arm(new Fault.Truncate(offset));
  }

  /**
   * Both ends see a reset when the stream comes to the offset. Bytes before it that the receiver
   * has not read yet may be lost with it.
   */
  public void cutAt(long offset) {
    arm(new Fault.Cut(offset));
  }

  /** The offset in the stream of a byte that comes so long after the handshake. */
  public long afterHandshake(long offset) {
    return Math.addExact(handshakeBytes, offset);
  }

  /**
   * No delay, no limit, no stop, and no fault that has not happened. What was held back is
   * delivered, in order.
   */
  public void heal() {
    change(
        () -> {
          faults.clear();
          delayNanos = 0;
          bytesPerSecond = UNLIMITED;
          freeAtNanos = System.nanoTime();
          isStopped = false;
        });
  }

  /** Bytes that were handed to receivers, of all connections. */
  public long deliveredBytes() {
    lock.lock();
    try {
      return deliveredBytes;
    } finally {
      lock.unlock();
    }
  }

  /** Waits until receivers were handed as many bytes, of all connections. */
  public void awaitDelivered(long bytes, Duration timeout)
      throws InterruptedException, TimeoutException {
    long deadline = System.nanoTime() + timeout.toNanos();
    lock.lock();
    try {
      while (deliveredBytes < bytes) {
        awaitChange(deadline, deliveredBytes + " of " + bytes + " bytes were delivered");
      }
    } finally {
      lock.unlock();
    }
  }

  /** Waits until every fault at an offset has happened. */
  public void awaitFaults(Duration timeout) throws InterruptedException, TimeoutException {
    long deadline = System.nanoTime() + timeout.toNanos();
    lock.lock();
    try {
      while (!faults.isEmpty() || faultsUnderWay > 0) {
        awaitChange(deadline, "No stream has come to " + faults);
      }
    } finally {
      lock.unlock();
    }
  }

  private void awaitChange(long deadline, String what)
      throws InterruptedException, TimeoutException {
    if (changed.awaitNanos(deadline - System.nanoTime()) <= 0) {
      throw new TimeoutException(what + " when the time was over");
    }
  }

  private void arm(Fault fault) {
    if (fault.offset() < 0) {
      throw new IllegalArgumentException("No stream has the offset of " + fault);
    }
    change(
        () -> {
          faults.add(fault);
          faults.sort(Comparator.comparingLong(Fault::offset));
        });
  }

  private void change(Runnable change) {
    lock.lock();
    try {
      change.run();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  void close() {
    change(() -> isClosed = true);
  }

  /**
   * Waits until the line is free for what came at a time.
   *
   * @return how many bytes may be delivered now, at most as many as wanted; 0 where none are wanted
   * @throws InterruptedException also where the proxy is closed
   */
  int awaitTurn(long arrivedNanos, int wanted) throws InterruptedException {
    lock.lock();
    try {
      while (true) {
        long now = System.nanoTime();
        long waitNanos = Math.max(arrivedNanos + delayNanos - now, freeAtNanos - now);
        if (isClosed) {
          throw new InterruptedException("the proxy is closed");
        } else if (isStopped) {
          changed.await();
        } else if (waitNanos > 0) {
          changed.awaitNanos(waitNanos);
        } else if (bytesPerSecond == UNLIMITED) {
          return wanted;
        } else {
          int granted = (int) Math.min(wanted, Math.max(1, bytesPerSecond / 100));
          freeAtNanos = now + (long) (1e9 * granted / bytesPerSecond);
          return granted;
        }
      }
    } finally {
      lock.unlock();
    }
  }

  void delivered(int bytes) {
    change(() -> deliveredBytes += bytes);
  }

  /**
   * The first fault at an offset of the range, which the caller makes happen and then calls {@link
   * #happened}.
   */
  Optional<Fault> take(long from, long to) {
    lock.lock();
    try {
      for (int i = 0; i < faults.size(); i++) {
        long offset = faults.get(i).offset();
        if (offset >= from && offset < to) {
          faultsUnderWay++;
          return Optional.of(faults.remove(i));
        }
      }
      return Optional.empty();
    } finally {
      lock.unlock();
    }
  }

  void happened() {
    change(() -> faultsUnderWay--);
  }
}
