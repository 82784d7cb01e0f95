package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.CollectiveMismatchException;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLong;

/**
 * What an algorithm sees of its group while one operation runs: sends that return at once, receives
 * that wait for at most the timeout and check that the peer is in the same call.
 *
 * <p>Thread: whoever runs the operation, one at a time; {@link #traffic} and {@link #awaitedPeer}
 * may be asked by any.
 */
public final class Exchange {
  private final Transport transport;
  private final Duration timeout;
  private final HostReduction reduction = new HostReduction();
  private final int[] sentPieces;
  private final int[] receivedPieces;
  private final AtomicLong bytesSent = new AtomicLong();
  private final AtomicLong messagesSent = new AtomicLong();
  private Call call;
  private volatile int awaitedPeer = -1;

  /**
   * @param first the call that comes first
   * @param timeout how long a peer may be silent
   */
  public Exchange(Transport transport, Call first, Duration timeout) {
    this.transport = transport;
    this.timeout = timeout;
    this.call = first;
    this.sentPieces = new int[transport.size()];
    this.receivedPieces = new int[transport.size()];
  }

  /** Whether elements of this type can be reduced. */
  public static boolean canReduce(DType dtype) {
    return HostReduction.supports(dtype);
  }

  /** From now on messages belong to this call. */
  public void begin(Call next) {
    call = next;
    Arrays.fill(sentPieces, 0);
    Arrays.fill(receivedPieces, 0);
  }

  int rank() {
    return transport.rank();
  }

  int size() {
    return transport.size();
  }

  /** The rank {@code distance} after this one on the ring; a negative distance counts backwards. */
  int neighbour(int distance) {
    return Math.floorMod(rank() + distance, size());
  }

  /** All of a tensor, in this group's pieces. */
  Chunk whole(Tensor tensor) {
    return Chunk.whole(tensor, transport.pieceBytes());
  }

  /** The part of a tensor that belongs to a rank, counted around the ring. */
  Chunk part(Tensor tensor, int rank) {
    return Chunk.part(tensor, Math.floorMod(rank, size()), size(), transport.pieceBytes());
  }

  void send(int peer, ByteBuffer payload) {
    bytesSent.addAndGet(payload.remaining());
    messagesSent.incrementAndGet();
    transport.send(peer, call, sentPieces[peer]++, payload);
  }

  /** Waits for the peer's next message and copies its content. */
  void receive(int peer, ByteBuffer into) throws InterruptedException {
    try (Message message = next(peer, into.remaining())) {
      into.duplicate().put(message.payload().duplicate());
    }
  }

  /** Waits for the peer's next message and combines its content with what is there. */
  void receiveAndReduce(int peer, DType dtype, ReduceOperation operation, ByteBuffer into)
      throws InterruptedException {
    try (Message message = next(peer, into.remaining())) {
      reduction.reduce(dtype, operation, message.payload().order(into.order()), into);
    }
  }

  /** Divides by the number of ranks where the operation is an average. */
  void finishReduction(DType dtype, ReduceOperation operation, ByteBuffer values) {
    if (operation == ReduceOperation.AVERAGE) {
      reduction.divide(dtype, values, size());
    }
  }

  /** Waits until what was sent may be changed. */
  void flush() throws InterruptedException {
    transport.flush(Deadline.after(timeout));
  }

  private Message next(int peer, int expectedBytes) throws InterruptedException {
    if (Thread.interrupted()) { // also where the next message is there already
      throw new InterruptedException();
    }
    awaitedPeer = peer;
    Message message = transport.receive(peer, Deadline.after(timeout));
    awaitedPeer = -1;
    if (!message.call().equals(call)
        || message.piece() != receivedPieces[peer]++
        || message.payload().remaining() != expectedBytes) {
      String theirs = message.call().description();
      int bytes = message.payload().remaining();
      message.close();
      throw new CollectiveMismatchException(mismatch(peer, theirs, bytes, expectedBytes));
    }
    return message;
  }

  private String mismatch(int peer, String theirs, int bytes, int expectedBytes) {
    String ours = call.description();
    String found =
        theirs.equals(ours)
            ? "rank " + peer + " sent " + bytes + " bytes where " + expectedBytes + " were expected"
            : "rank " + rank() + " called " + ours + " but rank " + peer + " called " + theirs;
    return found
        + ". Every rank must call the same operations in the same order with tensors of one type"
        + " and size.";
  }

  /** The peer that the communication thread waits for just now; -1 if none. */
  public int awaitedPeer() {
    return awaitedPeer;
  }

  public Traffic traffic() {
    return new Traffic(bytesSent.get(), messagesSent.get());
  }
}
