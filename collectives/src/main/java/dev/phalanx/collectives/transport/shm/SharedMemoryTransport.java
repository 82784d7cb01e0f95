package dev.phalanx.collectives.transport.shm;

import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.ReceiveTimeoutException;
import dev.phalanx.collectives.transport.Transport;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * A ring to each peer and one from each. What does not fit a ring yet waits here, and the thread
 * that waits for anything else moves it on meanwhile; so no order of sends and receives locks up.
 */
public final class SharedMemoryTransport implements Transport {
  private record Unsent(Call call, int piece, ByteBuffer payload) {}

  private final int rank;
  private final List<Ring> outgoing; // by peer; this rank's own place is not used
  private final List<Ring> incoming;
  private final List<Deque<Unsent>> unsent = new ArrayList<>();
  private final AtomicReferenceArray<@Nullable String> losses;
  private final AtomicBoolean isClosed = new AtomicBoolean();
  private final Pause pause;

  SharedMemoryTransport(int rank, List<Ring> outgoing, List<Ring> incoming) {
    this.rank = rank;
    this.outgoing = List.copyOf(outgoing);
    this.incoming = List.copyOf(incoming);
    this.losses = new AtomicReferenceArray<>(outgoing.size());
    this.pause = new Pause(outgoing.size());
    outgoing.forEach(ring -> unsent.add(new ArrayDeque<>()));
  }

  @Override
  public int rank() {
    return rank;
  }

  @Override
  public int size() {
    return outgoing.size();
  }

  @Override
  public String name() {
    return "shm";
  }

  @Override
  public int pieceBytes() {
    return outgoing.get(rank == 0 ? size() - 1 : 0).longestPayload();
  }

  /** Memory alone does not tell that a process is gone. */
  @Override
  public void lost(int peer, String reason) {
    losses.compareAndSet(peer, null, reason);
  }

  @Override
  public void send(int peer, Call call, int piece, ByteBuffer payload) {
    Deque<Unsent> waiting = unsent.get(peer);
    if (!waiting.isEmpty() || !outgoing.get(peer).write(call, piece, payload)) {
      String reason = endReason(peer);
      if (reason != null) {
        throw new PeerLostException(peer, reason);
      }
      waiting.add(new Unsent(call, piece, payload));
    }
  }

  @Override
  public Message receive(int peer, Deadline deadline) throws InterruptedException {
    Ring ring = incoming.get(peer);
    pause.reset();
    while (true) {
      Message message = ring.poll();
      if (message != null) {
        return message;
      }
      if (!moveOn() && pause.once()) {
        // The end is looked at before the ring: what was written before it counts.
        String reason = endReason(peer);
        message = ring.poll();
        if (message != null) {
          return message;
        }
        check(peer, reason, deadline);
      }
    }
  }

  @Override
  public void flush(Deadline deadline) throws InterruptedException {
    pause.reset();
    for (int peer = 0; peer < unsent.size(); peer++) {
      while (!unsent.get(peer).isEmpty()) {
        if (Thread.interrupted()) {
          throw new InterruptedException();
        }
        if (!moveOn() && pause.once()) {
          check(peer, endReason(peer), deadline);
        }
      }
    }
  }

  private static void check(int peer, @Nullable String reason, Deadline deadline)
      throws InterruptedException {
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
    if (reason != null) {
      throw new PeerLostException(peer, reason);
    }
    if (deadline.hasPassed()) {
      throw new ReceiveTimeoutException(peer, deadline);
    }
  }

  /** Writes what waits and fits; whether there was any. */
  private boolean moveOn() {
    boolean hasMoved = false;
    for (int peer = 0; peer < unsent.size(); peer++) {
      Deque<Unsent> waiting = unsent.get(peer);
      for (Unsent next = waiting.peek(); next != null; next = waiting.peek()) {
        if (!outgoing.get(peer).write(next.call(), next.piece(), next.payload())) {
          break;
        }
        waiting.remove();
        hasMoved = true;
      }
    }
    return hasMoved;
  }

  private @Nullable String endReason(int peer) {
    String reason = incoming.get(peer).endReason();
    return reason != null ? reason : losses.get(peer);
  }

  @Override
  public void abort(String reason) {
    for (int peer = 0; peer < outgoing.size(); peer++) {
      if (peer != rank) {
        outgoing.get(peer).fail(reason);
      }
    }
  }

  @Override
  public void close() {
    if (isClosed.getAndSet(true)) {
      return;
    }
    // Operations wait until all of theirs is written; what one that failed has left unsent lies in
    // memory that may be free by now.
    for (int peer = 0; peer < outgoing.size(); peer++) {
      if (peer != rank) {
        outgoing.get(peer).leave();
      }
    }
  }
}
