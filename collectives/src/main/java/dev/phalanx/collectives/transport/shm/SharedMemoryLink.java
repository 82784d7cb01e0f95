package dev.phalanx.collectives.transport.shm;

import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Envelope;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.PeerLostException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/** A ring to a peer and one from it. What does not fit the ring yet waits here. */
final class SharedMemoryLink implements Link {
  private static final long SHORTEST_SLEEP_NANOS = 20_000;
  private static final long LONGEST_SLEEP_NANOS = 500_000;

  private record Unsent(Call call, int piece, ByteBuffer payload) {}

  private final int peer;
  private final Ring outgoing;
  private final Ring incoming;
  private final Deque<Unsent> unsent = new ArrayDeque<>();
  private final AtomicReference<@Nullable String> loss = new AtomicReference<>();
  private long sleepNanos = SHORTEST_SLEEP_NANOS;

  SharedMemoryLink(int peer, Ring outgoing, Ring incoming) {
    this.peer = peer;
    this.outgoing = outgoing;
    this.incoming = incoming;
  }

  @Override
  public void send(Call call, int piece, ByteBuffer payload) {
    String reason = endReason();
    if (reason != null) { // though there be room: nobody takes it
      throw new PeerLostException(peer, reason);
    }
    if (!unsent.isEmpty() || !outgoing.write(call, piece, payload)) {
      unsent.add(new Unsent(call, piece, payload));
    }
  }

  @Override
  public @Nullable Message poll(@Nullable ByteBuffer into) {
    Message message = incoming.poll();
    if (message != null) {
      sleepNanos = SHORTEST_SLEEP_NANOS;
    }
    return message;
  }

  @Override
  public @Nullable Envelope peek() {
    return incoming.poll(); // as long as it is not closed, it comes again
  }

  @Override
  public boolean advance() {
    boolean hasMoved = false;
    for (Unsent next = unsent.peek(); next != null; next = unsent.peek()) {
      if (!outgoing.write(next.call(), next.piece(), next.payload())) {
        break;
      }
      unsent.remove();
      hasMoved = true;
    }
    return hasMoved;
  }

  @Override
  public boolean isFlushed() {
    return unsent.isEmpty();
  }

  @Override
  public boolean needsPolling() {
    return !unsent.isEmpty();
  }

  /** Memory alone does not tell that a process is gone. */
  @Override
  public @Nullable String endReason() {
    String reason = incoming.endReason();
    return reason != null ? reason : loss.get();
  }

  /** No event tells that memory has changed: the thread sleeps for longer and longer times. */
  @Override
  public void sleep(long nanos) {
    LockSupport.parkNanos(this, Math.min(nanos, sleepNanos));
    sleepNanos = Math.min(LONGEST_SLEEP_NANOS, sleepNanos + sleepNanos / 4);
  }

  @Override
  public void lost(String reason) {
    loss.compareAndSet(null, reason);
  }

  @Override
  public void abort(String reason) {
    outgoing.fail(reason);
  }

  /**
   * Operations wait until all of theirs is written; what one that failed has left unsent lies in
   * memory that may be free by now.
   */
  @Override
  public void leave(Deadline deadline) {
    outgoing.leave();
  }
}
