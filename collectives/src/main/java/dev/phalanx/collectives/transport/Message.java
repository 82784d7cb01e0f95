package dev.phalanx.collectives.transport;

import java.nio.ByteBuffer;

/** A message from a peer. Its payload may be read until it is closed. */
public interface Message extends Envelope, AutoCloseable {
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
