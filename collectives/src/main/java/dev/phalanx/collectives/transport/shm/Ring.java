package dev.phalanx.collectives.transport.shm;

import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Frame;
import dev.phalanx.collectives.transport.FramedMessage;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.Message;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/**
 * A one-way road of messages from one process to another, in memory that both have mapped.
 *
 * <pre>
 *   byte 0      head: bytes written since the start, by the writer
 *        128    tail: bytes given back since the start, by the reader
 *        256    state: 0 not yet attached, 1 open, 2 the writer has left, 3 it cannot go on
 *        264    length of the reason, 268 .. 4095 the reason in UTF-8
 *        4096   frames, each a header and a payload filled up to 64 bytes; a frame never wraps, the
 *               rest at the end is skipped by a frame of kind 0
 * </pre>
 *
 * <p>Head and tail lie in cache lines of their own, two apart, for processors that fetch lines in
 * pairs. Each side keeps its own counter and the last value that it saw of the other's, so that a
 * line moves between cores only where that value no longer suffices.
 *
 * <p>Threads: one writes, one reads, in different processes or not; {@link #end} may come from any.
 */
final class Ring {
  static final int HEADER_BYTES = 4096;

  private static final int HEAD = 0;
  private static final int TAIL = 128;
  private static final int STATE = 256;
  private static final int REASON_LENGTH = 264;
  private static final int REASON = 268;
  private static final int ALIGNMENT = 64;
  private static final int LONGEST_PAYLOAD = 256 * 1024;
  private static final byte SKIP = 0;

  private static final long ATTACHED = 1;
  private static final long LEFT = 2;
  private static final long FAILED = 3;

  private static final VarHandle LONGS =
      MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.nativeOrder());

  private final ByteBuffer memory;
  private final int capacity;
  private long head; // the writer's
  private long tail; // the reader's
  private long seen; // of the other's counter

  /**
   * @param memory of zeros at first: {@link #HEADER_BYTES}, then a power of two
   */
  Ring(ByteBuffer memory) {
    this.memory = memory;
    this.capacity = memory.capacity() - HEADER_BYTES;
    if (Integer.bitCount(capacity) != 1) {
      throw new IllegalArgumentException("A ring of " + capacity + " bytes is no power of two");
    }
  }

  /**
   * Longer payloads are no faster; an empty ring takes a quarter of it wherever its frames begin.
   */
  static int longestPayload(int ringBytes) {
    return Math.min(ringBytes / 4, LONGEST_PAYLOAD);
  }

  // ------------------------------------------------------------------------------------ writer

  /** Tells the reader that the writer has mapped the memory. */
  void attach() {
    LONGS.setRelease(memory, STATE, ATTACHED);
  }

  /**
   * Copies a message into the ring.
   *
   * @return false where there is no room yet; nothing is changed then
   */
  boolean write(Call call, int piece, ByteBuffer payload) {
    int length = payload.remaining();
    if (length > longestPayload(capacity)) {
      throw new IllegalArgumentException(
          "A payload of " + length + " bytes never fits a ring of " + capacity);
    }
    int needed = frameBytes(length);
    int at = place(head);
    int rest = capacity - at;
    int wanted = needed <= rest ? needed : rest + needed;
    if (head + wanted - seen > capacity) {
      seen = (long) LONGS.getAcquire(memory, TAIL);
      if (head + wanted - seen > capacity) {
        return false;
      }
    }
    if (needed > rest) {
      memory.put(HEADER_BYTES + at, SKIP);
      head += rest;
      at = 0;
    }
    new Frame(Frame.DATA, length, piece, 0, call)
        .write(memory.duplicate().position(HEADER_BYTES + at));
    memory.put(HEADER_BYTES + at + ALIGNMENT, payload, payload.position(), length);
    head += needed;
    LONGS.setRelease(memory, HEAD, head);
    return true;
  }

  /** Says farewell: nothing will come after what was written. */
  void leave() {
    LONGS.compareAndSet(memory, STATE, ATTACHED, LEFT);
  }

  /** Says that the writer cannot go on, and why. The first reason stays. */
  void fail(String reason) {
    if ((long) LONGS.getAcquire(memory, STATE) != ATTACHED) {
      return;
    }
    byte[] text = reason.getBytes(StandardCharsets.UTF_8);
    int length = Math.min(text.length, HEADER_BYTES - REASON);
    memory.put(REASON, text, 0, length);
    memory.putInt(REASON_LENGTH, length);
    LONGS.setRelease(memory, STATE, FAILED);
    VarHandle.fullFence(); // before memory that the reader sees is changed
  }

  // ------------------------------------------------------------------------------------ reader

  boolean isAttached() {
    return (long) LONGS.getAcquire(memory, STATE) != 0;
  }

  /** The next message, or null where none is there. It must be closed before the next call. */
  @Nullable Message poll() {
    while (tail != seen || tail != (seen = (long) LONGS.getAcquire(memory, HEAD))) {
      int at = place(tail);
      if (memory.get(HEADER_BYTES + at) == SKIP) {
        giveBack(capacity - at);
      } else {
        Frame frame = Frame.read(memory.duplicate().position(HEADER_BYTES + at));
        ByteBuffer payload = memory.slice(HEADER_BYTES + at + ALIGNMENT, frame.payloadBytes());
        return new Received(frame, payload);
      }
    }
    return null;
  }

  /** Why nothing will come any more after what is there, or null. */
  @Nullable String endReason() {
    long state = (long) LONGS.getAcquire(memory, STATE);
    if (state == FAILED) {
      byte[] text = new byte[memory.getInt(REASON_LENGTH)];
      memory.get(REASON, text);
      return "cannot go on: " + new String(text, StandardCharsets.UTF_8);
    }
    return state == LEFT ? Link.LEFT : null;
  }

  private void giveBack(int bytes) {
    tail += bytes;
    LONGS.setRelease(memory, TAIL, tail);
  }

  private int place(long counter) {
    return (int) (counter & (capacity - 1));
  }

  private static int frameBytes(int payloadBytes) {
    return ALIGNMENT + (payloadBytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  private final class Received extends FramedMessage {
    private final ByteBuffer payload;

    Received(Frame frame, ByteBuffer payload) {
      super(frame);
      this.payload = payload;
    }

    @Override
    public ByteBuffer payload() {
      return payload;
    }

    @Override
    public void close() {
      giveBack(frameBytes(payloadBytes()));
    }
  }
}
