package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Connects ranks that are threads of one JVM. A message is a view of the sender's memory: nothing
 * is copied on the way, and the sender's {@link Transport#flush} waits for its readers.
 *
 * <p>Each rank takes its transport once.
 */
public final class InProcessNetwork {
  private final List<Endpoint> endpoints = new ArrayList<>();

  public InProcessNetwork(int size) {
    for (int rank = 0; rank < size; rank++) {
      endpoints.add(new Endpoint(rank, size));
    }
  }

  public int size() {
    return endpoints.size();
  }

  /** The transport of a rank. */
  public Transport transport(int rank) {
    return endpoints.get(rank);
  }

  private final class Endpoint implements Transport {
    private final int rank;
    private final List<Inbox> inboxes = new ArrayList<>();
    private final Outstanding outstanding;
    private final AtomicBoolean isClosed = new AtomicBoolean();

    Endpoint(int rank, int size) {
      this.rank = rank;
      this.outstanding = new Outstanding(size);
      for (int peer = 0; peer < size; peer++) {
        inboxes.add(new Inbox(peer));
      }
    }

    @Override
    public int rank() {
      return rank;
    }

    @Override
    public int size() {
      return endpoints.size();
    }

    @Override
    public String name() {
      return "inprocess";
    }

    @Override
    public void send(int peer, Call call, int piece, ByteBuffer payload) {
      String reason = inboxes.get(peer).endReason();
      if (reason != null) {
        throw new PeerLostException(peer, reason);
      }
      outstanding.sent(peer);
      endpoints
          .get(peer)
          .inboxes
          .get(rank)
          .put(new View(call, piece, payload, () -> outstanding.done(peer)));
    }

    @Override
    public Message receive(int peer, Deadline deadline) throws InterruptedException {
      return inboxes.get(peer).take(deadline);
    }

    @Override
    public void flush(Deadline deadline) throws InterruptedException {
      outstanding.await(deadline, peer -> inboxes.get(peer).endReason());
    }

    @Override
    public void abort(String reason) {
      leave("cannot go on: " + reason);
    }

    @Override
    public void close() {
      if (isClosed.compareAndSet(false, true)) {
        leave("has left the group");
        inboxes.forEach(Inbox::discard);
      }
    }

    private void leave(String reason) {
      for (Endpoint peer : endpoints) {
        if (peer != this) {
          peer.inboxes.get(rank).end(reason);
          peer.outstanding.wake();
        }
      }
    }
  }

  private record View(Call call, int piece, ByteBuffer payload, Runnable whenRead)
      implements Message {
    @Override
    public void close() {
      whenRead.run();
    }
  }
}
