package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.CollectiveMismatchException;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Envelope;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.ReceiveTimeoutException;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.IntUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * What an algorithm sees of its group while one operation runs: sends that return at once, receives
 * that wait for at most the timeout and check that the peer is in the same call.
 *
 * <p>A {@link #subset} is the same exchange among some of the ranks, numbered anew: algorithms made
 * of others run these over it.
 *
 * <p>Thread: whoever runs the operation, one at a time; {@link #traffic} and {@link #awaitedPeer}
 * may be asked by any.
 */
public final class Exchange {
  /** How long a wait lasts before the other ranks' calls are looked at too. */
  private static final Duration PATIENCE = Duration.ofMillis(100);

  /** After so long a wait the awaited rank is told in which call this one is. */
  private static final long TELLING_NANOS = TimeUnit.MILLISECONDS.toNanos(500);

  private static final ByteBuffer NOTHING = ByteBuffer.allocateDirect(0);

  private static final int NOBODY = -1;
  private static final int REMEMBERED_CALLS = 64;

  /** Buffers of a piece each; enough to keep a link busy. */
  private static final int MOST_SCRATCH = 16;

  /** What all views of one group share. */
  private static final class State {
    final Transport transport;
    final Duration timeout;
    final IntUnaryOperator names;
    final HostReduction reduction = new HostReduction();
    final Stash stash = new Stash();
    final List<ByteBuffer> scratch = new ArrayList<>();
    int scratchInUse;
    final int[] sentPieces;
    final int[] receivedPieces;
    final AtomicLong bytesSent = new AtomicLong();
    final AtomicLong messagesSent = new AtomicLong();
    Call call = Call.NONE;
    boolean hasHeard; // of some rank in this call
    @Nullable Call lastOfAll; // the last call that concerned the whole group
    final @Nullable Call[] callsOfAll = new Call[REMEMBERED_CALLS]; // the last ones, by sequence
    volatile int awaitedPeer = NOBODY;

    State(Transport transport, Duration timeout, IntUnaryOperator names) {
      this.transport = transport;
      this.timeout = timeout;
      this.names = names;
      this.sentPieces = new int[transport.size()];
      this.receivedPieces = new int[transport.size()];
    }
  }

  private final State state;
  private final int rank;
  private final int[] members; // the group's rank of each of this view's

  /**
   * @param timeout how long a peer may be silent
   * @param names the number by which messages name each rank of the group
   */
  public Exchange(Transport transport, Duration timeout, IntUnaryOperator names) {
    this.state = new State(transport, timeout, names);
    this.rank = transport.rank();
    this.members = new int[transport.size()];
    Arrays.setAll(members, peer -> peer);
  }

  private Exchange(State state, int rank, int[] members) {
    this.state = state;
    this.rank = rank;
    this.members = members;
  }

  /**
   * The same operation among some ranks.
   *
   * @param ranks of this view, in the order of their new numbers; this rank is one of them
   */
  Exchange subset(List<Integer> ranks) {
    int[] chosen = new int[ranks.size()];
    Arrays.setAll(chosen, i -> members[ranks.get(i)]);
    return new Exchange(state, ranks.indexOf(rank), chosen);
  }

  /** From now on messages belong to this call. */
  public void begin(Call next) {
    state.call = next;
    if (!next.isTransfer()) {
      state.lastOfAll = next;
      state.callsOfAll[Math.floorMod(next.sequence(), REMEMBERED_CALLS)] = next;
    }
    state.hasHeard = false;
    state.scratchInUse = 0;
    Arrays.fill(state.sentPieces, 0);
    Arrays.fill(state.receivedPieces, 0);
  }

  int rank() {
    return rank;
  }

  int size() {
    return members.length;
  }

  /** Of the whole group. */
  Topology topology() {
    return state.transport.topology();
  }

  /** The rank {@code distance} after this one on the ring; a negative distance counts backwards. */
  int neighbour(int distance) {
    return Math.floorMod(rank + distance, size());
  }

  /** All of a tensor, in this group's pieces. */
  Chunk whole(Tensor tensor) {
    return Chunk.whole(tensor, pieceBytes());
  }

  /** Some of a tensor's elements, in this group's pieces. */
  Chunk range(Tensor tensor, long first, long elements) {
    return new Chunk(tensor, first, elements, pieceBytes());
  }

  /** The part of a tensor that belongs to a rank, counted around the ring. */
  Chunk part(Tensor tensor, int index) {
    return part(whole(tensor), index);
  }

  /** {@link #part(Tensor, int)} of a part of a tensor. */
  Chunk part(Chunk whole, int index) {
    return whole.part(Math.floorMod(index, size()), size());
  }

  private int pieceBytes() {
    return state.transport.topology().pieceBytes();
  }

  void send(int peer, ByteBuffer payload) {
    send(peer, state.call, payload);
  }

  private void send(int peer, Call call, ByteBuffer payload) {
    int member = members[peer];
    send(member, call, state.sentPieces[member]++, payload);
  }

  private void send(int member, Call call, int piece, ByteBuffer payload) {
    state.bytesSent.addAndGet(payload.remaining());
    state.messagesSent.incrementAndGet();
    state.transport.send(member, call, piece, payload);
  }

  /** Sends all pieces. */
  void send(int peer, Chunk chunk) {
    for (int piece = 0; piece < chunk.pieces(); piece++) {
      send(peer, chunk, piece);
    }
  }

  /** Sends one piece, if there is one of that number; they are sent in their order. */
  void send(int peer, Chunk chunk, int piece) {
    if (piece < chunk.pieces()) {
      send(peer, callWith(chunk), chunk.piece(piece));
    }
  }

  /** Sends the same to every other rank, the next one on the ring first. */
  void sendToOthers(ByteBuffer payload) {
    for (int distance = 1; distance < size(); distance++) {
      send(neighbour(distance), payload);
    }
  }

  /** {@link #sendToOthers(ByteBuffer)} of one piece, if there is one of that number. */
  void sendToOthers(Chunk chunk, int piece) {
    for (int distance = 1; distance < size(); distance++) {
      send(neighbour(distance), chunk, piece);
    }
  }

  /**
   * This call as it stands on a chunk's messages. Where each pair of ranks has a count of its own,
   * every message tells it: one piece is like another, and a sender that has more of them than the
   * receiver takes would be found out in the next operation only.
   */
  private Call callWith(Chunk chunk) {
    return state.call.elements() == Call.UNEQUAL ? state.call.ofPair(chunk.elements()) : state.call;
  }

  /** Waits for the peer's next message and puts its content in place. */
  void receive(int peer, ByteBuffer into) throws InterruptedException {
    receive(peer, state.call, into);
  }

  private void receive(int peer, Call call, ByteBuffer into) throws InterruptedException {
    try (Message message = next(members[peer], call, into, into.remaining())) {
      put(message, into);
    }
  }

  private static void put(Message message, ByteBuffer into) {
    if (!message.isInPlace()) {
      into.duplicate().put(message.payload().duplicate());
    }
  }

  /** Receives all pieces. */
  void receive(int peer, Chunk chunk) throws InterruptedException {
    for (int piece = 0; piece < chunk.pieces(); piece++) {
      receive(peer, chunk, piece);
    }
  }

  /** Waits for one piece, if there is one of that number. */
  void receive(int peer, Chunk chunk, int piece) throws InterruptedException {
    if (piece < chunk.pieces()) {
      receive(peer, callWith(chunk), chunk.piece(piece));
    }
  }

  /** Waits for the peer's next message and combines its content with what is there. */
  void receiveAndReduce(int peer, DType dtype, ReduceOperation operation, ByteBuffer into)
      throws InterruptedException {
    receiveAndReduce(peer, dtype, operation, into, into);
  }

  /**
   * Waits for the peer's next message and puts what it makes with {@code values} into {@code into},
   * which is other memory or the same.
   */
  void receiveAndReduce(
      int peer, DType dtype, ReduceOperation operation, ByteBuffer values, ByteBuffer into)
      throws InterruptedException {
    try (Message message = next(members[peer], state.call, null, into.remaining())) {
      state.reduction.reduce(dtype, operation, message.payload(), values, into);
    }
  }

  /** Receives all pieces and combines them with what is there. */
  void receiveAndReduce(int peer, DType dtype, ReduceOperation operation, Chunk chunk)
      throws InterruptedException {
    for (int piece = 0; piece < chunk.pieces(); piece++) {
      receiveAndReduce(peer, dtype, operation, chunk.piece(piece));
    }
  }

  /**
   * What this rank has read of others' memory was theirs: a rank whose operation has failed may
   * change it, and says so before.
   *
   * @throws PeerLostException where one cannot go on
   */
  void requireUnchanged() {
    VarHandle.fullFence(); // nothing of it is read after this look
    for (int member : members) {
      String failure = member == state.transport.rank() ? null : state.transport.failure(member);
      if (failure != null) {
        throw new PeerLostException(member, failure);
      }
    }
  }

  /** Combines memory that this rank can read with what is there. */
  void reduce(DType dtype, ReduceOperation operation, ByteBuffer from, ByteBuffer into) {
    state.reduction.reduce(dtype, operation, from, into);
  }

  /** Divides by the number of ranks of the whole group where the operation is an average. */
  void finishReduction(DType dtype, ReduceOperation operation, ByteBuffer values) {
    if (operation == ReduceOperation.AVERAGE) {
      state.reduction.divide(dtype, values, state.transport.size());
    }
  }

  /** {@link #finishReduction} of all pieces. */
  void finishReduction(DType dtype, ReduceOperation operation, Chunk chunk) {
    if (operation == ReduceOperation.AVERAGE) {
      for (int piece = 0; piece < chunk.pieces(); piece++) {
        finishReduction(dtype, operation, chunk.piece(piece));
      }
    }
  }

  /** Sends all of a tensor to one rank. */
  void transferTo(int peer, Tensor tensor, int tag) {
    int member = members[peer];
    Call call = Call.transfer(tensor.dtype(), tensor.elementCount(), tag);
    Chunk chunk = whole(tensor);
    for (int piece = 0; piece < chunk.pieces(); piece++) {
      send(member, call, piece, chunk.piece(piece));
    }
  }

  /** Receives what a rank sends with this tag; others of its transfers are kept for later. */
  void transferFrom(int peer, Tensor tensor, int tag) throws InterruptedException {
    int member = members[peer];
    Call call = Call.transfer(tensor.dtype(), tensor.elementCount(), tag);
    Chunk chunk = whole(tensor);
    for (int piece = 0; piece < chunk.pieces(); piece++) {
      ByteBuffer into = chunk.piece(piece);
      Message message = state.stash.take(member, tag);
      while (message == null) {
        Message come = await(member, into);
        if (come.call().isTransfer() && come.call().tag() != tag) {
          state.stash.keep(member, come);
        } else {
          message = come;
        }
      }
      try (Message taken = message) {
        check(member, taken, call, piece, into.remaining());
        put(taken, into);
      }
    }
  }

  /**
   * A copy of {@code values} in memory of the exchange, which may be changed and sent. Where much
   * is in use, this waits until what was sent from it is no longer needed.
   */
  ByteBuffer scratch(ByteBuffer values) throws InterruptedException {
    if (state.scratchInUse == MOST_SCRATCH) {
      flush();
    }
    if (state.scratchInUse == state.scratch.size()) {
      state.scratch.add(ByteBuffer.allocateDirect(pieceBytes()));
    }
    ByteBuffer copy = state.scratch.get(state.scratchInUse++);
    copy.clear().limit(values.remaining());
    return copy.put(values.duplicate()).flip().slice().order(values.order());
  }

  /**
   * Waits until what was sent may be changed, and scratch memory used again. A rank that only sends
   * learns here that another one cannot go on.
   */
  void flush() throws InterruptedException {
    if (!state.hasHeard) {
      lookAround(NOBODY);
    }
    Deadline deadline = Deadline.after(state.timeout);
    long moved = state.transport.moved();
    int peer = state.transport.flush(deadline.within(PATIENCE));
    while (peer >= 0) {
      state.awaitedPeer = peer;
      lookAround(NOBODY);
      if (moved != state.transport.moved()) { // slow is not silent
        moved = state.transport.moved();
        deadline = Deadline.after(state.timeout);
      }
      if (deadline.hasPassed()) {
        throw new ReceiveTimeoutException(peer, deadline);
      }
      peer = state.transport.flush(deadline.within(PATIENCE));
    }
    state.awaitedPeer = NOBODY;
    state.scratchInUse = 0;
  }

  /** The peer's next message of this call; transfers on the way are kept for later. */
  private Message next(int member, Call expected, @Nullable ByteBuffer into, int expectedBytes)
      throws InterruptedException {
    // Before the first message of a call transfers may come. They must not be read into memory that
    // this rank has sent itself and the peer may not have read yet.
    ByteBuffer place = state.receivedPieces[member] == 0 ? null : into;
    Message message = await(member, place);
    while (message.call().isTransfer() && !state.call.isTransfer()) {
      state.stash.keep(member, message);
      message = await(member, place);
    }
    check(member, message, expected, state.receivedPieces[member]++, expectedBytes);
    return message;
  }

  private void check(int member, Message message, Call expected, int piece, int bytes) {
    if (!message.call().equals(expected)
        || message.piece() != piece
        || message.payload().remaining() != bytes) {
      Call theirs = message.call();
      int came = message.payload().remaining();
      message.close();
      throw mismatch(member, expected, theirs, came, bytes);
    }
  }

  private Message await(int member, @Nullable ByteBuffer into) throws InterruptedException {
    if (Thread.interrupted()) { // also where the next message is there already
      throw new InterruptedException();
    }
    Deadline deadline = Deadline.after(state.timeout);
    long tellingNanos = System.nanoTime() + TELLING_NANOS;
    boolean hasTold = state.call.isTransfer(); // which says nothing about the group's calls
    state.awaitedPeer = member;
    while (true) {
      Message message = state.transport.receive(member, into, deadline.within(PATIENCE));
      if (message == null) {
        lookAround(member);
        if (deadline.hasPassed()) {
          throw new ReceiveTimeoutException(member, deadline);
        }
        if (!hasTold && System.nanoTime() - tellingNanos >= 0) {
          hasTold = true;
          tellWaiting(member);
        }
      } else if (message.isWaiting()) {
        Call theirs = message.call();
        message.close();
        if (!isWhereThisRankIsOrWas(theirs)) { // what is waited for does not come any more
          throw mismatch(member, state.call, theirs, 0, 0);
        }
      } else {
        state.awaitedPeer = NOBODY;
        state.hasHeard = true;
        return message;
      }
    }
  }

  private void tellWaiting(int member) {
    try {
      state.transport.send(member, state.call, Envelope.WAITING, NOTHING.duplicate());
    } catch (PeerLostException e) {
      // What it has sent before may have come by now: the next look at it tells.
    }
  }

  /**
   * What the other ranks have done meanwhile. One that cannot go on ends every wait in the group.
   * Ranks in different calls may wait for each other in a circle, by different algorithms: what one
   * of them has sent, if only that it waits, lies unread at another. Transfers are taken in, so
   * that their senders can go on.
   *
   * @param awaited the rank whose messages the caller takes itself
   */
  private void lookAround(int awaited) throws InterruptedException {
    for (int peer = 0; peer < state.transport.size(); peer++) {
      if (peer != state.transport.rank() && peer != awaited) {
        lookAt(peer);
      }
    }
  }

  private void lookAt(int peer) throws InterruptedException {
    Envelope next = state.transport.peek(peer);
    String failure = state.transport.failure(peer);
    if (failure != null) {
      throw new PeerLostException(peer, failure);
    }
    while (next != null && isForNoCall(next)) {
      Message message = state.transport.receive(peer, null, Deadline.after(Duration.ZERO));
      if (message == null) {
        return; // not all of it is there
      }
      if (message.isWaiting()) {
        message.close();
      } else {
        state.stash.keep(peer, message);
      }
      next = state.transport.peek(peer);
    }
    Call last = state.lastOfAll;
    if (next != null
        && last != null
        && next.call().sequence() <= last.sequence()
        && !last.includes(next.call())) {
      throw mismatch(peer, last, next.call(), 0, 0);
    }
  }

  /** Whether a message can be taken from before what the group's call has to take. */
  private boolean isForNoCall(Envelope message) {
    return message.call().isTransfer()
        || (message.isWaiting() && isWhereThisRankIsOrWas(message.call()));
  }

  /** Whether this call of the whole group is the last one here, or one before. */
  private boolean isWhereThisRankIsOrWas(Call theirs) {
    Call last = state.lastOfAll;
    return last != null && (theirs.equals(last) || theirs.sequence() < last.sequence());
  }

  private CollectiveMismatchException mismatch(
      int member, Call ours, Call theirs, int bytes, int expectedBytes) {
    Call differing = differingCall(ours, theirs);
    return new CollectiveMismatchException(
        difference(member, differing, theirs, bytes, expectedBytes));
  }

  /**
   * What this rank called in the place of the other one's call. A rank that has only had to send
   * may be further on when it hears what the others called.
   */
  private Call differingCall(Call ours, Call theirs) {
    if (ours.isTransfer() || theirs.isTransfer()) {
      return ours;
    }
    Call there = state.callsOfAll[Math.floorMod(theirs.sequence(), REMEMBERED_CALLS)];
    return there != null && there.sequence() == theirs.sequence() && !there.includes(theirs)
        ? there
        : ours;
  }

  private String difference(int member, Call ours, Call theirs, int bytes, int expectedBytes) {
    int own = state.names.applyAsInt(state.transport.rank());
    int other = state.names.applyAsInt(member);
    if (theirs.equals(ours)) {
      return ("rank %d called %s and expected a message of %d bytes, but rank %d, which called the"
              + " same, sent one of %d. Every rank must have the same options.")
          .formatted(own, ours.description(), expectedBytes, other, bytes);
    }
    if (theirs.withTag(0).equals(ours.withTag(0)) && !ours.isTransfer()) {
      return ("rank %d called %s and rank %d called the same with other counts. Every rank must"
              + " give the same counts for the ranks.")
          .formatted(own, ours.description(), other);
    }
    if (state.call.elements() == Call.UNEQUAL && state.call.includes(theirs)) {
      return ("rank %d sent %d elements where %d were expected: it called %s with %d for rank %d,"
              + " which called it with %d from rank %d. Two ranks must give the same counts for"
              + " what one sends the other.")
          .formatted(
              other,
              theirs.pairElements(),
              ours.pairElements(),
              theirs.title(),
              theirs.pairElements(),
              own,
              ours.pairElements(),
              other);
    }
    return ("rank %d called %s but rank %d called %s. Every rank must call the same operations in"
            + " the same order with tensors of one type and size.")
        .formatted(own, ours.description(), other, theirs.description());
  }

  /** The peer that the communication thread waits for just now; -1 if none. */
  public int awaitedPeer() {
    return state.awaitedPeer;
  }

  public Traffic traffic() {
    return new Traffic(state.bytesSent.get(), state.messagesSent.get());
  }
}
