package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Envelope;
import dev.phalanx.collectives.transport.Frame;
import dev.phalanx.collectives.transport.LastWord;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.PlacedMessage;
import dev.phalanx.collectives.transport.handshake.Meeting;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * A connection to one peer, opened when it is used first. The thread that waits for a frame reads
 * it from the socket to its place: nothing is handed over between threads, and the checksum is
 * taken while the bytes are still in the core's cache.
 */
final class TcpLink implements Link {
  private static final long CONNECTING_SLEEP_NANOS = 200_000;

  /** A header and a payload, of which some may have gone out. */
  private record Outgoing(ByteBuffer header, ByteBuffer payload) {
    boolean hasBegun() {
      return header.position() > 0;
    }

    boolean isOut() {
      return !payload.hasRemaining() && !header.hasRemaining();
    }
  }

  private final int peer;
  private final Meeting<PeerSocket> meeting;
  private final Consumer<CompletableFuture<PeerSocket>> opener;
  private final Waiting waiting;
  private final Departures departures;

  /** Why the stream has ended, or never began. */
  private final AtomicReference<@Nullable String> end = new AtomicReference<>();

  /** Why somebody else says that it will. */
  private final AtomicReference<@Nullable String> loss = new AtomicReference<>();

  private volatile @Nullable SocketChannel channel;
  private @Nullable SelectionKey key;

  private final Deque<Outgoing> out = new ArrayDeque<>(); // guarded by itself: aborts come from any
  private final ByteBuffer[] gathered = new ByteBuffer[2]; // guarded by out
  private final CRC32C sentChecksum = new CRC32C(); // guarded by out
  private @Nullable Outgoing lateWord; // guarded by out: for a peer that was not there to hear it
  private volatile boolean hasUnsent;
  private boolean hasSaidLast; // guarded by out

  /** Why nothing can be written any more. */
  private volatile @Nullable String broken;

  private volatile long writtenBytes; // changed with out's lock
  private volatile long readBytes; // changed by the one thread that reads

  private final ByteBuffer header = ByteBuffer.allocateDirect(Frame.HEADER_BYTES);
  private final ByteBuffer[] scattered = new ByteBuffer[2];
  private final CRC32C checksum = new CRC32C();
  private ByteBuffer surplus = ByteBuffer.allocate(0); // read already, before what the socket has
  private @Nullable Frame frame; // whose payload comes next
  private @Nullable ByteBuffer payload; // of that frame; its position tells how much has come
  private int payloadStart;
  private ByteBuffer own = ByteBuffer.allocateDirect(0); // for payloads that have no other place

  /**
   * @param opener begins to open a connection; called once at most
   */
  TcpLink(
      int peer,
      Meeting<PeerSocket> meeting,
      Consumer<CompletableFuture<PeerSocket>> opener,
      Waiting waiting,
      Departures departures) {
    this.peer = peer;
    this.meeting = meeting;
    this.opener = opener;
    this.waiting = waiting;
    this.departures = departures;
  }

  /** The connection, or null where it is not open yet or never will be. */
  private @Nullable SocketChannel connected() {
    SocketChannel known = channel;
    if (known != null || end.get() != null) {
      return known;
    }
    CompletableFuture<PeerSocket> met = meeting.want(opener);
    return met.isDone() ? take(met) : null;
  }

  private @Nullable SocketChannel take(CompletableFuture<PeerSocket> met) {
    synchronized (out) { // aborts come from any thread
      if (channel == null) {
        try {
          PeerSocket socket = met.join();
          surplus = socket.surplus();
          readBytes = surplus.remaining();
          key = waiting.register(this, socket.channel());
          channel = socket.channel();
        } catch (CompletionException | IOException e) {
          Throwable cause = e.getCause() == null ? e : e.getCause();
          end(String.valueOf(cause.getMessage()));
        }
      }
      return channel;
    }
  }

  // ------------------------------------------------------------------------------------ sending

  @Override
  public void send(Call call, int piece, ByteBuffer content) {
    if (broken != null || loss.get() != null) {
      peek(); // why, if the peer has said it
    }
    String reason = endReason();
    if (reason == null) {
      reason = broken;
    }
    if (reason != null) {
      throw new PeerLostException(peer, reason);
    }
    synchronized (out) { // with abort
      if (hasSaidLast) {
        throw new PeerLostException(peer, "was told that this rank cannot go on");
      }
      enqueue(new Frame(Frame.DATA, content.remaining(), piece, 0, call), content.duplicate());
      writeSome();
    }
  }

  /** With the lock held. */
  private void enqueue(Frame next, ByteBuffer content) {
    out.add(outgoing(next, content));
    hasUnsent = true;
  }

  /** With the lock held: the frame gets its checksum. */
  private Outgoing outgoing(Frame next, ByteBuffer content) {
    return new Outgoing(next.sealed(content, sentChecksum), content);
  }

  @Override
  public boolean advance() {
    if (!hasUnsent) {
      return false;
    }
    synchronized (out) { // with abort
      return writeSome();
    }
  }

  /** With the lock held: as much as the socket takes; whether that was anything. */
  private boolean writeSome() {
    SocketChannel socket = connected();
    if (socket == null || broken != null) {
      return false;
    }
    boolean hasMoved = false;
    try {
      for (Outgoing next = out.peek(); next != null; next = out.peek()) {
        gathered[0] = next.header();
        gathered[1] = next.payload();
        long written =
            next.header().hasRemaining() ? socket.write(gathered) : socket.write(next.payload());
        hasMoved |= written > 0;
        writtenBytes += written;
        if (!next.isOut()) {
          break;
        }
        out.remove();
      }
    } catch (IOException e) {
      out.clear();
      broken = "has a broken connection: " + e.getMessage();
      return false; // what was dropped is not sent; the peer's last word may still be read
    }
    hasUnsent = !out.isEmpty();
    return hasMoved;
  }

  @Override
  public boolean isFlushed() {
    return !hasUnsent;
  }

  /** Once it is open the group's {@link Waiting} tells when there is room. */
  @Override
  public boolean needsPolling() {
    return hasUnsent && channel == null;
  }

  // ---------------------------------------------------------------------------------- receiving

  @Override
  public @Nullable Message poll(@Nullable ByteBuffer into) {
    SocketChannel socket = connected();
    if (socket == null || end.get() != null) {
      return null;
    }
    try {
      Frame next = frame(socket, into);
      while (next != null) {
        if (!readPayload(socket, next, into)) {
          return null;
        }
        ByteBuffer content = complete(next);
        if (next.kind() == Frame.DATA) {
          return new PlacedMessage(next, content, into != null && content != own);
        }
        end(new LastWord(next, content).reason());
        next = null;
      }
    } catch (IOException e) {
      end("has a broken connection: " + e.getMessage());
    } catch (IllegalArgumentException e) {
      end("has sent " + e.getMessage()); // nothing is read from here on
    }
    return null;
  }

  @Override
  public @Nullable Envelope peek() {
    SocketChannel socket = channel;
    if (socket == null && meeting.met().isDone()) {
      socket = take(meeting.met()); // the peer has opened it, and this rank has not needed it yet
    }
    if (socket == null || end.get() != null) {
      return null;
    }
    try {
      Frame next = frame(socket, null);
      if (next == null || next.kind() == Frame.DATA) {
        return next;
      }
    } catch (IOException | IllegalArgumentException e) {
      // poll comes upon it too
    }
    poll(null); // the peer's last word, or damage
    return null;
  }

  /** The frame whose payload comes next, or null where its header is not complete yet. */
  private @Nullable Frame frame(SocketChannel socket, @Nullable ByteBuffer into)
      throws IOException {
    Frame known = frame;
    if (known != null) {
      return known;
    }
    if (!header.hasRemaining()) {
      return begin();
    }
    // What comes may be another message than the one that is waited for. It must not be read into
    // memory of which this rank has something to send yet.
    if (into == null || surplus.hasRemaining() || hasUnsent) {
      read(socket, header);
      return header.hasRemaining() ? null : begin();
    }
    // As a rule the payload is what is waited for: one read for both.
    ByteBuffer expected = into.duplicate();
    readBoth(socket, header, expected);
    if (header.hasRemaining()) {
      return null;
    }
    int early = expected.position() - into.position();
    Frame read = begin();
    if (read.kind() == Frame.DATA && read.payloadBytes() == into.remaining()) {
      payload = expected;
      payloadStart = into.position();
      update(expected, payloadStart);
    } else if (early > 0) { // something else: what was read of it is read again from here
      ByteBuffer kept = ByteBuffer.allocate(early);
      kept.put(expected.flip().position(into.position()));
      surplus = kept.flip();
    }
    return read;
  }

  private Frame begin() {
    Frame read = Frame.read(header.flip());
    Frame.beginChecksum(header, checksum);
    header.clear();
    frame = read;
    return read;
  }

  /** Whether all of it is there. */
  private boolean readPayload(SocketChannel socket, Frame next, @Nullable ByteBuffer into)
      throws IOException {
    ByteBuffer target = payload;
    if (target == null) {
      target = place(next, into);
      payload = target;
      payloadStart = target.position();
    }
    while (target.hasRemaining()) {
      int before = target.position();
      if (surplus.hasRemaining()) {
        read(socket, target);
      } else {
        readBoth(socket, target, header); // the next header comes along
      }
      if (target.position() == before) {
        return false;
      }
      update(target, before);
    }
    return true;
  }

  private ByteBuffer place(Frame next, @Nullable ByteBuffer into) {
    int length = next.payloadBytes();
    if (into != null && next.kind() == Frame.DATA && into.remaining() == length) {
      return into.duplicate();
    }
    if (own.capacity() < length) {
      own = ByteBuffer.allocateDirect(length);
    }
    return own.clear().limit(length);
  }

  private void update(ByteBuffer target, int from) {
    if (target.position() > from) {
      checksum.update(target.duplicate().flip().position(from));
    }
  }

  /** The whole payload, checked. */
  private ByteBuffer complete(Frame read) {
    ByteBuffer content = payload;
    if (content == null) {
      throw new IllegalStateException("A frame without memory");
    }
    frame = null;
    payload = null;
    read.requireIntact((int) checksum.getValue());
    return content.flip().position(payloadStart);
  }

  private void read(SocketChannel socket, ByteBuffer target) throws IOException {
    if (surplus.hasRemaining()) {
      int count = Math.min(surplus.remaining(), target.remaining());
      target.put(surplus.duplicate().limit(surplus.position() + count));
      surplus.position(surplus.position() + count);
    } else {
      count(socket.read(target));
    }
  }

  private void readBoth(SocketChannel socket, ByteBuffer first, ByteBuffer second)
      throws IOException {
    scattered[0] = first;
    scattered[1] = second;
    count(socket.read(scattered));
  }

  private void count(long read) {
    if (read < 0) {
      ended();
    } else {
      readBytes += read;
    }
  }

  private void ended() {
    end(
        "is gone: its connection closed without a farewell, so its process has ended or was"
            + " killed");
  }

  // ------------------------------------------------------------------------------ waiting, ending

  /** Tells the selector what this link waits for. */
  void watch(boolean isAwaited) {
    SelectionKey known = key;
    if (known != null && known.isValid()) {
      int wanted = (isAwaited ? SelectionKey.OP_READ : 0) | (hasUnsent ? SelectionKey.OP_WRITE : 0);
      if (known.interestOps() != wanted) {
        known.interestOps(wanted);
      }
    }
  }

  @Override
  public Received received() {
    long amount = readBytes;
    return new Received(0, amount, amount);
  }

  @Override
  public long handedOver(int stream) {
    return writtenBytes;
  }

  @Override
  public void sleep(long nanos) {
    if (channel == null) {
      LockSupport.parkNanos(this, Math.min(nanos, CONNECTING_SLEEP_NANOS));
    } else {
      waiting.sleep(this, nanos);
    }
  }

  @Override
  public @Nullable String endReason() {
    String reason = end.get();
    return reason != null ? reason : loss.get();
  }

  private void end(String reason) {
    end.compareAndSet(null, reason);
  }

  @Override
  public void lost(String reason) {
    loss.compareAndSet(null, reason);
    waiting.wake();
  }

  @Override
  public void abort(String reason) {
    meeting.end(LastWord.cannotGoOn(reason));
    say(LastWord.abort(reason));
  }

  /** A last word, instead of what has not begun to go out; whether it is the first. */
  private boolean say(LastWord word) {
    synchronized (out) { // any thread
      if (hasSaidLast) {
        return false;
      }
      hasSaidLast = true;
      if (channel == null && meeting.met().isDone()) {
        take(meeting.met()); // the peer has come and waits
      }
      if (channel == null) {
        out.clear();
        hasUnsent = false;
        if (lateWord == null) { // the peer may be on its way
          lateWord = outgoing(word.frame(), word.payload());
          meeting.met().thenAccept(this::sayLate);
        }
        return true;
      }
      Outgoing begun = out.peek();
      out.clear();
      if (begun != null && begun.hasBegun()) { // its memory is free soon
        ByteBuffer rest = ByteBuffer.allocate(begun.payload().remaining());
        out.add(new Outgoing(begun.header(), rest.put(begun.payload()).flip()));
      }
      enqueue(word.frame(), word.payload());
      writeSome();
      return true;
    }
  }

  /** The connection has opened after the last word. */
  private void sayLate(PeerSocket socket) {
    synchronized (out) { // the event loop, or whoever leaves
      Outgoing word = lateWord;
      lateWord = null;
      if (word != null) {
        try { // few bytes, for which a new socket has room
          socket.channel().write(new ByteBuffer[] {word.header(), word.payload()});
        } catch (IOException e) {
          // The peer is gone too.
        }
      }
    }
  }

  @Override
  public void leave(Deadline deadline) {
    meeting.leave(LEFT);
    boolean isOrderly = say(LastWord.farewell());
    while (hasUnsent && broken == null && end.get() == null && !deadline.hasPassed()) {
      if (!advance()) {
        LockSupport.parkNanos(this, CONNECTING_SLEEP_NANOS);
      }
    }
    boolean isAwaited = isOrderly && !hasUnsent && broken == null && failure() == null;
    end("was left");
    SelectionKey known = key;
    if (known != null) {
      known.cancel(); // nobody waits for it here any more
    }
    meeting
        .met()
        .thenAccept( // also where it opens only now
            socket -> {
              sayLate(socket);
              departures.add(socket.channel(), isAwaited);
            });
    waiting.left(this);
  }
}
