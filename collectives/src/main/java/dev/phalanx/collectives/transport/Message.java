package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;

/** A message from a peer. Its payload may be read until it is closed. */
public interface Message extends AutoCloseable {
  /** What the sender is doing. */
  Call call();

  /**
   * The message's number among those that the sender sent to this rank in the same call, from 0.
   */
  int piece();

  /** The content, in the order of bytes of the host. */
  ByteBuffer payload();

  /** Whether the payload is in the memory that the receiver has named; see {@link Link#poll}. */
  default boolean isInPlace() {
    return false;
  }

  /** Gives the payload's memory back. */
  @Override
  void close();
}
