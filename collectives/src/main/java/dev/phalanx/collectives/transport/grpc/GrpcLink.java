package dev.phalanx.collectives.transport.grpc;

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
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * A stream to one peer, opened when it is used first. The event loop, which is the waiting thread
 * itself as a rule, puts what has come into a queue, from where the payload is moved to its place;
 * it also sends what had to wait for room.
 */
final class GrpcLink implements Link, PeerStream.Receiver {
  /** So much may lie unread before no more is asked for; the stream's window comes on top. */
  private static final int MOST_UNREAD_BYTES = 12 << 20;

  private static final long LEAVING_SLEEP_NANOS = TimeUnit.MILLISECONDS.toNanos(20);

  private final int peer;
  private final SharedEventLoop loop;
  private final Meeting<PeerStream> meeting;
  private final Consumer<CompletableFuture<PeerStream>> opener;

  /** Why nothing will come after what is there. */
  private final AtomicReference<@Nullable String> end = new AtomicReference<>();

  /** Why somebody else says so. */
  private final AtomicReference<@Nullable String> loss = new AtomicReference<>();

  private final Deque<OutgoingFrame> out = new ArrayDeque<>(); // guarded by itself, as this group
  private final CRC32C sentChecksum = new CRC32C();
  private final byte[] scratch = new byte[OutgoingFrame.SCRATCH_BYTES];
  private volatile @Nullable PeerStream stream; // written under the lock
  private volatile boolean hasUnsent; // written under the lock
  private volatile long sent; // frames; written under the lock
  private long lastSent; // when it was last asked
  private boolean hasSaidLast;
  private volatile boolean isStreamOver;

  private final Queue<IncomingFrame> come = new ConcurrentLinkedQueue<>();
  private final AtomicInteger unreadBytes = new AtomicInteger();
  private final AtomicBoolean isHeldBack = new AtomicBoolean(); // whether too much lies unread
  private volatile long receivedMessages; // changed by the event loop
  private volatile boolean isLeft;
  private volatile @Nullable Thread sleeper;

  private final CRC32C checksum = new CRC32C();
  private ByteBuffer own = ByteBuffer.allocateDirect(0); // for payloads that have no other place
  private boolean isWanted;

  private GrpcLink(
      int peer,
      SharedEventLoop loop,
      Meeting<PeerStream> meeting,
      Consumer<CompletableFuture<PeerStream>> opener) {
    this.peer = peer;
    this.loop = loop;
    this.meeting = meeting;
    this.opener = opener;
  }

  /**
   * @param opener begins to open a stream; called once at most
   */
  static GrpcLink to(
      int peer,
      SharedEventLoop loop,
      Meeting<PeerStream> meeting,
      Consumer<CompletableFuture<PeerStream>> opener) {
    GrpcLink link = new GrpcLink(peer, loop, meeting, opener);
    meeting
        .met()
        .whenComplete(
            (open, failure) -> {
              if (failure != null) {
                link.end(String.valueOf(failure.getMessage()));
              } else {
                link.opened(open);
              }
            });
    return link;
  }

  private void want() {
    if (!isWanted) {
      isWanted = true;
      meeting.want(opener);
    }
  }

  private void opened(PeerStream open) {
    synchronized (out) { // with leave
      stream = open;
      while (hasSaidLast && !out.isEmpty()) {
        open.send(out.remove());
      }
    }
    open.attach(this);
    isReadyAgain();
    if (isLeft) {
      open.finish();
    }
  }

  // ------------------------------------------------------------------------------------ sending

  @Override
  public void send(Call call, int piece, ByteBuffer content) {
    String reason = endReason();
    if (reason != null) {
      throw new PeerLostException(peer, reason);
    }
    want();
    boolean isLoop = loop.tryEnter(); // then the message is on the socket when it leaves
    try {
      synchronized (out) { // with the event loop and abort
        if (hasSaidLast) {
          throw new PeerLostException(peer, "was told that this rank cannot go on");
        }
        Frame frame = new Frame(Frame.DATA, content.remaining(), piece, 0, call);
        out.add(outgoing(frame, content.duplicate()));
        sendSome();
      }
    } finally {
      if (isLoop) {
        loop.leave();
      }
    }
  }

  /** With the lock held. */
  private OutgoingFrame outgoing(Frame frame, ByteBuffer payload) {
    return new OutgoingFrame(frame.sealed(payload, sentChecksum), payload, scratch);
  }

  /** With the lock held: as much as gRPC wants to have. */
  private void sendSome() {
    PeerStream open = stream;
    while (open != null && !out.isEmpty() && open.isReady()) {
      open.send(out.remove());
      sent++;
    }
    hasUnsent = !out.isEmpty();
  }

  @Override
  public void isReadyAgain() {
    synchronized (out) { // with send
      sendSome();
    }
    wake();
  }

  @Override
  public boolean advance() {
    if (!isFlushed()) {
      loop.runOnce();
    }
    long now = sent;
    boolean hasMoved = now != lastSent;
    lastSent = now;
    return hasMoved;
  }

  @Override
  public boolean isFlushed() {
    PeerStream open = stream;
    return !hasUnsent && (open == null || open.hasSentAll());
  }

  @Override
  public boolean needsPolling() {
    return false;
  }

  // ---------------------------------------------------------------------------------- receiving

  @Override
  public void received(InputStream message) {
    receivedMessages++;
    try {
      take(IncomingFrame.of(message));
    } catch (IOException e) {
      end("has a broken stream: " + e.getMessage());
    } catch (IllegalArgumentException e) {
      damaged(e);
    }
    PeerStream open = stream;
    if (unreadBytes.get() > MOST_UNREAD_BYTES) {
      isHeldBack.set(true);
      askForMore();
    } else if (open != null) {
      open.requestOne();
    }
  }

  private void take(IncomingFrame frame) throws IOException {
    if (frame.frame().kind() == Frame.DATA) {
      unreadBytes.addAndGet(frame.weight());
      come.add(frame);
      if (isLeft || end.get() != null) { // nobody will read it
        dropUnread();
      }
      wake();
      return;
    }
    try (frame) {
      ByteBuffer payload = ByteBuffer.allocate(frame.frame().payloadBytes());
      frame.read(payload, new CRC32C());
      end(new LastWord(frame.frame(), payload.flip()).reason());
    }
  }

  @Override
  public @Nullable Message poll(@Nullable ByteBuffer into) {
    want();
    IncomingFrame next = come.poll();
    if (next == null && loop.runOnce()) {
      next = come.poll();
    }
    return next == null ? null : place(next, into);
  }

  private @Nullable Message place(IncomingFrame next, @Nullable ByteBuffer into) {
    try (next) {
      Frame frame = next.frame();
      boolean isInPlace = into != null && into.remaining() == frame.payloadBytes();
      ByteBuffer target =
          isInPlace && into != null ? into.duplicate() : ownMemory(frame.payloadBytes());
      int start = target.position();
      next.read(target, checksum);
      return new PlacedMessage(frame, target.flip().position(start), isInPlace);
    } catch (IOException e) {
      end("has a broken stream: " + e.getMessage());
    } catch (IllegalArgumentException e) {
      damaged(e);
    } finally {
      unreadBytes.addAndGet(-next.weight());
      askForMore();
    }
    return null;
  }

  private ByteBuffer ownMemory(int bytes) {
    if (own.capacity() < bytes) {
      own = ByteBuffer.allocateDirect(bytes);
    }
    return own.clear().limit(bytes);
  }

  /** Where no more was asked for, and most of what has come is read. */
  private void askForMore() {
    PeerStream open = stream;
    if (unreadBytes.get() <= MOST_UNREAD_BYTES / 2
        && isHeldBack.compareAndSet(true, false)
        && open != null) {
      open.requestOne();
    }
  }

  /** From here on what comes is dropped. The stream stays open for this rank's own last word. */
  private void damaged(IllegalArgumentException found) {
    end("has sent " + found.getMessage());
    dropUnread();
  }

  private void dropUnread() {
    for (IncomingFrame frame = come.poll(); frame != null; frame = come.poll()) {
      unreadBytes.addAndGet(-frame.weight());
      try {
        frame.close();
      } catch (IOException e) {
        end("has a broken stream: " + e.getMessage());
      }
    }
  }

  @Override
  public @Nullable Envelope peek() {
    IncomingFrame next = come.peek();
    return next == null ? null : next.frame();
  }

  // ------------------------------------------------------------------------------ waiting, ending

  @Override
  public Received received() {
    PeerStream open = stream;
    return new Received(0, receivedMessages, open == null ? 0 : open.arrivedBytes());
  }

  @Override
  public long handedOver(int number) {
    return sent;
  }

  @Override
  public void sleep(long nanos) {
    boolean wasFlushed = isFlushed();
    loop.beginSleep();
    sleeper = Thread.currentThread();
    // Whatever happens from here on wakes this thread; what has happened just before is seen here.
    if (come.isEmpty() && endReason() == null && wasFlushed == isFlushed()) {
      LockSupport.parkNanos(this, nanos);
    }
    sleeper = null;
    loop.endSleep();
  }

  private void wake() {
    Thread sleeping = sleeper;
    if (sleeping != null) {
      LockSupport.unpark(sleeping);
    }
  }

  @Override
  public @Nullable String endReason() {
    String reason = end.get();
    return reason != null ? reason : loss.get();
  }

  private void end(String reason) {
    end.compareAndSet(null, reason);
    wake();
  }

  @Override
  public void ended(String reason) {
    isStreamOver = true;
    end(reason);
  }

  @Override
  public void lost(String reason) {
    loss.compareAndSet(null, reason);
    wake();
  }

  @Override
  public void abort(String reason) {
    meeting.end(LastWord.cannotGoOn(reason));
    say(LastWord.abort(reason));
  }

  /**
   * A last word, instead of what has not gone out. gRPC takes it whether it has room or not; where
   * the stream is not open yet it is the first to go.
   */
  private void say(LastWord word) {
    synchronized (out) { // any thread
      if (hasSaidLast) {
        return;
      }
      hasSaidLast = true;
      out.clear();
      PeerStream open = stream;
      OutgoingFrame last = outgoing(word.frame(), word.payload());
      if (open == null) {
        out.add(last);
      } else {
        open.send(last);
      }
      hasUnsent = false;
    }
  }

  /**
   * The stream's end tells that the peer has all that was sent. A peer that reads too slowly for
   * the deadline may go on: the stream stays open for it as long as the endpoint does.
   */
  @Override
  public void leave(Deadline deadline) {
    meeting.leave(LEFT);
    say(LastWord.farewell());
    PeerStream open;
    synchronized (out) { // with opened
      isLeft = true;
      open = stream;
    }
    if (open != null) {
      open.finish();
      loop.beginSleep();
      sleeper = Thread.currentThread();
      while (!isStreamOver && loss.get() == null && !deadline.hasPassed()) {
        LockSupport.parkNanos(this, Math.min(LEAVING_SLEEP_NANOS, deadline.remainingNanos()));
      }
      sleeper = null;
      loop.endSleep();
      if (loss.get() != null) {
        open.cut("the rank was left");
      }
    }
    end("was left");
    dropUnread();
    askForMore();
  }
}
