package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * This rank's end of the road to one peer. Messages arrive in the order in which they were sent,
 * each once, unchanged. Nothing here waits, but {@link #sleep} and {@link #leave}: what cannot go
 * out yet stays with the link, and {@link #advance} moves it on.
 *
 * <p>Thread: one at a time; {@link #lost}, {@link #abort}, {@link #leave}, {@link #received} and
 * {@link #handedOver} may come from any.
 */
public interface Link {
  /** The {@link #endReason} of a peer that has said farewell. */
  String LEFT = "has left the group";

  /**
   * Hands a message over. The payload's memory must stay as it is until {@link #isFlushed}, or
   * until the peer has proven by its own messages that it has read it.
   *
   * @param piece the message's number among those to this peer in this call, from 0
   * @throws PeerLostException where the peer is gone
   */
  void send(Call call, int piece, ByteBuffer payload);

  /**
   * The next message, or null where it is not complete yet. It must be closed before the next call.
   *
   * @param into where the payload is put straight away if it is as long as this and the link can;
   *     the message's payload is then this very memory. The same at each call until the message has
   *     come; null: the link's own memory
   */
  @Nullable Message poll(@Nullable ByteBuffer into);

  /**
   * What stands on the message that {@link #poll} gives next, as far as that is known. An end of
   * the peer that has come takes effect.
   */
  @Nullable Envelope peek();

  /** Moves on what could not go out before; whether anything has moved. */
  boolean advance();

  /** Whether the payloads of all messages sent may be changed. */
  boolean isFlushed();

  /**
   * Whether {@link #advance} must be called again and again because no event tells that there is
   * room.
   */
  boolean needsPolling();

  /** Why nothing will come after what is there, or null. */
  @Nullable String endReason();

  /** Why the peer is of no more use to the group; null as well where it has left in order. */
  default @Nullable String failure() {
    String reason = endReason();
    return LEFT.equals(reason) ? null : reason;
  }

  /**
   * How far what the peer has sent has come.
   *
   * @param stream that the next message comes on, of those from the peer, from 0
   * @param amount that has come on it since it was opened, in the unit of {@link #handedOver}
   * @param bytes that have come on it, parts of messages too
   */
  record Received(int stream, long amount, long bytes) {}

  /** Any thread may ask. Null where there is no network between that could lose anything. */
  default @Nullable Received received() {
    return null;
  }

  /**
   * How much has been handed to the network on a stream to the peer: bytes, or messages where the
   * network takes these. Any thread may ask.
   */
  default long handedOver(int stream) {
    return 0;
  }

  /** Waits until something may have come from this peer, or some link can advance. */
  void sleep(long nanos) throws InterruptedException;

  /** Somebody else has found out that the peer is gone. */
  void lost(String reason);

  /** Tells the peer that this rank cannot go on, and why. What was not sent yet is dropped. */
  void abort(String reason);

  /** Says farewell and gives everything back; waits for what was sent until the deadline. */
  void leave(Deadline deadline);
}
