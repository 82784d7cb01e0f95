package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Connects ranks that are threads of one JVM. A message is a view of the sender's memory: nothing
 * is copied on the way, and the sender's {@link Transport#flush} waits for its readers.
 *
 * <p>Each rank takes its transport once.
 */
public final class InProcessNetwork {
  private static final LinkCost COST = new LinkCost(1000, 0.08);
  private static final int PIECE_BYTES = 256 * 1024;
  private static final long LEAVING_NANOS = 50_000;

  /** Of a piece, by a thread that may have to wait for a core. */
  private static final Duration LONGEST_READ = Duration.ofSeconds(1);

  private final int size;
  private final Topology topology;
  private final AtomicReferenceArray<@Nullable Road> roads;
  private final AtomicInteger taken = new AtomicInteger();

  public InProcessNetwork(int size) {
    this.size = size;
    this.topology = Topology.ofOneHost("inprocess", size, COST, PIECE_BYTES);
    this.roads = new AtomicReferenceArray<>(size * size);
  }

  /** The transport of a rank. */
  public Transport transport(int rank) {
    taken.incrementAndGet();
    return new Transport(rank, topology, links(rank));
  }

  /** Whether all ranks have their transports. */
  public boolean isTaken() {
    return taken.get() >= size;
  }

  /** The links of a rank, by peer, for a transport that has others too. */
  public List<Link> links(int rank) {
    List<Link> links = new ArrayList<>();
    for (int peer = 0; peer < size; peer++) {
      links.add(new ThreadLink(rank, peer));
    }
    return links;
  }

  /** Made by whoever uses it first: of many ranks each talks to a few. */
  private Road road(int from, int to) {
    int place = from * size + to;
    Road found = roads.get(place);
    if (found != null) {
      return found;
    }
    Road made = new Road();
    Road other = roads.compareAndExchange(place, null, made);
    return other == null ? made : other;
  }

  /** One way between two ranks. */
  private static final class Road {
    final Queue<View> views = new ConcurrentLinkedQueue<>();
    final AtomicInteger unread = new AtomicInteger();
    final AtomicReference<@Nullable String> end = new AtomicReference<>();
    volatile @Nullable Thread reader;
    volatile @Nullable Thread writer;

    static void wake(@Nullable Thread sleeper) {
      if (sleeper != null) {
        LockSupport.unpark(sleeper);
      }
    }

    void end(String reason) {
      end.compareAndSet(null, reason);
      wake(reader);
      wake(writer);
    }

    void isRead() {
      if (unread.decrementAndGet() == 0) {
        wake(writer);
      }
    }
  }

  /**
   * A message.
   *
   * @param isSettled whether the reader has begun to read it, or the writer has withdrawn it:
   *     whoever is first
   */
  private record View(Call call, int piece, ByteBuffer payload, Road road, AtomicBoolean isSettled)
      implements Message {
    /** One without content is nobody's memory and stays. */
    boolean settle() {
      return !payload.hasRemaining() || isSettled.compareAndSet(false, true);
    }

    @Override
    public void close() {
      if (payload.hasRemaining()) { // readers leave its position alone
        road.isRead();
      }
    }
  }

  private final class ThreadLink implements Link {
    private final int rank;
    private final int peer;
    private @Nullable Road incoming;
    private @Nullable Road outgoing;
    private boolean wasFlushed; // when it was last asked
    private int lastUnread; // when it was last asked

    ThreadLink(int rank, int peer) {
      this.rank = rank;
      this.peer = peer;
    }

    private Road incoming() {
      Road found = incoming;
      if (found == null) {
        found = road(peer, rank);
        incoming = found;
      }
      return found;
    }

    private Road outgoing() {
      Road found = outgoing;
      if (found == null) {
        found = road(rank, peer);
        outgoing = found;
      }
      return found;
    }

    @Override
    public void send(Call call, int piece, ByteBuffer payload) {
      String reason = endReason();
      if (reason != null) {
        throw new PeerLostException(peer, reason);
      }
      Road road = outgoing();
      if (payload.hasRemaining()) { // nobody changes the memory of a message without content
        road.unread.incrementAndGet();
      }
      road.views.add(new View(call, piece, payload, road, new AtomicBoolean()));
      if (road.end.get() != null) { // a waiting thread has given up meanwhile
        withdraw(Deadline.after(LONGEST_READ));
        throw new PeerLostException(peer, "was told that this rank cannot go on");
      }
      Road.wake(road.reader);
    }

    @Override
    public @Nullable Message poll(@Nullable ByteBuffer into) {
      Queue<View> views = incoming().views;
      View next = views.peek();
      if (next == null || !next.settle()) {
        return null; // a withdrawn one stays in front of what came after it
      }
      return views.poll();
    }

    @Override
    public @Nullable Envelope peek() {
      View next = incoming().views.peek();
      return next == null || next.isSettled().get() ? null : next;
    }

    /** The peer's reading is what moves things here. */
    @Override
    public boolean advance() {
      int unread = outgoing == null ? 0 : outgoing.unread.get();
      boolean hasMoved = unread < lastUnread;
      lastUnread = unread;
      return hasMoved;
    }

    @Override
    public boolean isFlushed() {
      wasFlushed = outgoing == null || outgoing.unread.get() == 0;
      return wasFlushed;
    }

    @Override
    public boolean needsPolling() {
      return false;
    }

    @Override
    public @Nullable String endReason() {
      return incoming().end.get();
    }

    @Override
    public void sleep(long nanos) {
      Thread current = Thread.currentThread();
      incoming().reader = current;
      outgoing().writer = current;
      // Whatever happens from here on wakes this thread; what has happened just before is seen
      // here.
      boolean hasCome = !incoming().views.isEmpty() || incoming().end.get() != null;
      boolean hasGone = !wasFlushed && isFlushed();
      if (!hasCome && !hasGone) {
        LockSupport.parkNanos(this, nanos);
      }
      incoming().reader = null;
      outgoing().writer = null;
    }

    @Override
    public void lost(String reason) {
      incoming().end(reason);
    }

    @Override
    public void abort(String reason) {
      outgoing().end("cannot go on: " + reason);
      withdraw(Deadline.after(LONGEST_READ));
    }

    /**
     * This rank's memory is free soon: what nobody has begun to read is not read any more, and what
     * somebody reads just now is waited for. Nobody waits while he reads.
     */
    private void withdraw(Deadline deadline) {
      Road road = outgoing();
      for (View view : road.views) {
        if (view.payload().hasRemaining() && view.settle()) {
          view.close();
        }
      }
      while (road.unread.get() > 0 && !deadline.hasPassed()) {
        LockSupport.parkNanos(this, LEAVING_NANOS);
      }
    }

    @Override
    public void leave(Deadline deadline) {
      outgoing().end(LEFT);
      withdraw(deadline);
      Road road = incoming();
      for (View view = road.views.poll(); view != null; view = road.views.poll()) {
        view.close();
      }
    }
  }
}
