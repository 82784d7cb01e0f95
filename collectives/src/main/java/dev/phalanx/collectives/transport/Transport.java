package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * One rank's links to the other ranks of its group, of one kind or of several: shared memory within
 * a host and TCP between hosts, for instance. It waits for all of them together, so that no order
 * of sends and receives locks up.
 *
 * <p>Thread: one at a time calls {@link #send}, {@link #receive}, {@link #peek} and {@link #flush};
 * the others may come from any.
 */
public final class Transport implements AutoCloseable {
  private static final long CLOSE_MILLIS = 2000;

  /** How often somebody who sleeps looks whether he was interrupted, or should give up. */
  private static final long LONGEST_SLEEP_NANOS = TimeUnit.MILLISECONDS.toNanos(200);

  private static final int NOBODY = -1;

  private static final long POLLING_SLEEP_NANOS = TimeUnit.MICROSECONDS.toNanos(200);

  private final int rank;
  private final Topology topology;
  private final List<Link> links; // by peer; this rank's own place is not used
  private final Link[] peers;
  private final Optional<SharedMemory> sharedMemory;
  private final Pause pause;
  private long moved;
  private volatile int awaited = NOBODY; // by who sleeps; the one thread's
  private volatile boolean isAborted;
  private final AtomicBoolean isClosed = new AtomicBoolean();

  /**
   * @param links by peer; what stands at this rank's own place is not used
   */
  public Transport(int rank, Topology topology, List<Link> links) {
    this(rank, topology, links, Optional.empty());
  }

  /**
   * @param sharedMemory where all ranks can read each other's
   */
  public Transport(
      int rank, Topology topology, List<Link> links, Optional<SharedMemory> sharedMemory) {
    this.sharedMemory = sharedMemory;
    this.rank = rank;
    this.topology = topology;
    this.links = List.copyOf(links);
    this.peers =
        IntStream.range(0, links.size())
            .filter(peer -> peer != rank)
            .mapToObj(links::get)
            .toArray(Link[]::new);
    this.pause = new Pause(topology.ranksOfHost(rank));
  }

  public int rank() {
    return rank;
  }

  public int size() {
    return links.size();
  }

  /** Which ranks are on one host, and what the roads between them are like. */
  public Topology topology() {
    return topology;
  }

  /** Makes memory that all ranks can read; empty where they have none in common. */
  public Optional<SharedMemory> sharedMemory() {
    return sharedMemory;
  }

  /**
   * Hands a message over and returns at once. The payload's memory must stay as it is until {@link
   * #flush} has returned, or until the peer has proven by its own messages that it has read it.
   *
   * @param piece the message's number among those to this peer in this call, from 0
   * @throws PeerLostException where the peer is gone
   */
  public void send(int peer, Call call, int piece, ByteBuffer payload) {
    links.get(peer).send(call, piece, payload);
  }

  /**
   * The next message of a peer. It must be closed before the next one of this peer.
   *
   * @param into where the payload is put if it is as long as this and the link can; see {@link
   *     Link#poll}
   * @return null where the deadline passed first
   * @throws PeerLostException where the peer is gone and nothing is left of what it sent
   */
  public @Nullable Message receive(int peer, @Nullable ByteBuffer into, Deadline deadline)
      throws InterruptedException {
    Link link = links.get(peer);
    Message message = link.poll(into);
    if (message != null) {
      return taken(message);
    }
    pause.begin();
    while (true) {
      boolean hasMoved = advance();
      message = link.poll(into);
      if (message != null) {
        return taken(message);
      }
      if (!hasMoved && pause.isOver()) {
        requireNotInterrupted();
        String reason = link.endReason();
        if (reason != null) {
          message = link.poll(into); // what came before the end counts
          if (message != null) {
            return taken(message);
          }
          throw new PeerLostException(peer, reason);
        }
        if (!deadline.hasPassed()) {
          awaited = peer;
        }
        if (!sleep(link, deadline)) {
          return null;
        }
      }
    }
  }

  private Message taken(Message message) {
    if (awaited != NOBODY) {
      awaited = NOBODY;
    }
    return message;
  }

  /**
   * What this rank waits for.
   *
   * @param received of what the peer has sent so far
   */
  public record Wait(int peer, Link.Received received) {}

  /**
   * Any thread may ask. Empty while this rank waits for nothing that comes over a network, or not
   * for so long that it sleeps. A wait that has brought nothing yet counts until its message comes.
   */
  public Optional<Wait> waiting() {
    int peer = isAborted ? NOBODY : awaited;
    Link.Received received = peer == NOBODY ? null : links.get(peer).received();
    return Optional.ofNullable(received).map(some -> new Wait(peer, some));
  }

  /** How much was handed to the network for a peer; see {@link Link#handedOver}. */
  public long handedOver(int peer, int stream) {
    return links.get(peer).handedOver(stream);
  }

  /** What stands on a peer's next message, as far as that is known. */
  public @Nullable Envelope peek(int peer) {
    return links.get(peer).peek();
  }

  /**
   * Why a peer cannot go on, or is lost, as far as that is known; null where it has left in order.
   */
  public @Nullable String failure(int peer) {
    return links.get(peer).failure();
  }

  /**
   * Waits until the payloads of all messages sent so far may be changed.
   *
   * @return -1; where the deadline passed first, the peer that was waited for
   * @throws PeerLostException where a peer with unread messages is gone
   */
  public int flush(Deadline deadline) throws InterruptedException {
    for (int peer = 0; peer < links.size(); peer++) {
      if (peer != rank && !isFlushed(peer, deadline)) {
        return peer;
      }
    }
    return -1;
  }

  private boolean isFlushed(int peer, Deadline deadline) throws InterruptedException {
    Link link = links.get(peer);
    pause.begin();
    while (!link.isFlushed()) {
      if (!advance() && pause.isOver()) {
        requireNotInterrupted();
        String reason = link.endReason();
        if (reason != null && !link.isFlushed()) { // it may have read all just before it left
          throw new PeerLostException(peer, reason);
        }
        if (!sleep(link, deadline)) {
          return false;
        }
      }
    }
    return true;
  }

  /** False where the deadline has passed. */
  private boolean sleep(Link link, Deadline deadline) throws InterruptedException {
    long left = deadline.remainingNanos();
    if (left > 0) {
      link.sleep(Math.min(left, needsPolling() ? POLLING_SLEEP_NANOS : LONGEST_SLEEP_NANOS));
    }
    return left > 0;
  }

  private static void requireNotInterrupted() throws InterruptedException {
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
  }

  private boolean advance() {
    boolean hasMoved = false;
    for (Link link : peers) {
      hasMoved |= link.advance();
    }
    if (hasMoved) {
      moved++;
    }
    return hasMoved;
  }

  /** A number that grows whenever something of what waits to be sent has moved on. */
  public long moved() {
    return moved;
  }

  private boolean needsPolling() {
    for (Link link : peers) {
      if (link.needsPolling()) {
        return true;
      }
    }
    return false;
  }

  /**
   * Somebody else has found out that a peer is gone; what waits for it, or comes to, fails with
   * this reason.
   */
  public void lost(int peer, String reason) {
    if (Objects.checkIndex(peer, size()) != rank) {
      links.get(peer).lost(reason);
    }
  }

  /** Tells every peer that this rank cannot go on and why; their receives fail with that reason. */
  public void abort(String reason) {
    isAborted = true;
    for (Link link : peers) {
      link.abort(reason);
    }
  }

  public boolean isClosed() {
    return isClosed.get();
  }

  /** Leaves the group. What was sent before still arrives. Calling it again does nothing. */
  @Override
  public void close() {
    if (!isClosed.getAndSet(true)) {
      Deadline deadline = Deadline.after(Duration.ofMillis(CLOSE_MILLIS));
      for (Link link : peers) {
        link.leave(deadline);
      }
    }
  }
}
