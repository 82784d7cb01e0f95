package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;

/**
 * One rank's connections to the other ranks of its group. Messages between two ranks arrive in the
 * order in which they were sent, each once, unchanged.
 *
 * <p>Thread: one at a time calls {@link #send}, {@link #receive} and {@link #flush}; {@link #abort}
 * and {@link #close} may come from any.
 */
public interface Transport extends AutoCloseable {
  int rank();

  int size();

  /** What it is, as reports and plan files call it. */
  String name();

  /**
   * The payload that suits it best: small enough to overlap transfer and reduction, large enough
   * for the cost of a message to vanish. The same on all ranks; no payload may be longer.
   */
  default int pieceBytes() {
    return 256 * 1024;
  }

  /**
   * Hands a message over and returns at once. The payload's memory must stay as it is until {@link
   * #flush} has returned, or until the peer has proven by its own messages that it has read it.
   *
   * @param piece the message's number among those to this peer in this call, from 0
   * @throws PeerLostException where the peer is gone
   */
  void send(int peer, Call call, int piece, ByteBuffer payload);

  /**
   * The next message of a peer.
   *
   * @throws PeerLostException where the peer is gone and nothing is left of what it sent
   * @throws ReceiveTimeoutException where the deadline passed first
   */
  Message receive(int peer, Deadline deadline) throws InterruptedException;

  /**
   * Waits until the payloads of all messages sent so far may be changed.
   *
   * @throws PeerLostException where a peer with unread messages is gone
   * @throws ReceiveTimeoutException where the deadline passed first
   */
  void flush(Deadline deadline) throws InterruptedException;

  /**
   * Somebody else has found out that a peer is gone; what waits for it, or comes to, fails with
   * this reason. Any thread.
   */
  default void lost(int peer, String reason) {}

  /** Tells every peer that this rank cannot go on and why; their receives fail with that reason. */
  void abort(String reason);

  /** Leaves the group. What was sent before still arrives. Calling it again does nothing. */
  @Override
  void close();
}
