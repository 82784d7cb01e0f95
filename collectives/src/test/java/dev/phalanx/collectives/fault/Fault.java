package dev.phalanx.collectives.fault;

/** What happens to a stream when it comes to an offset. */
sealed interface Fault {
  /** The first byte that is touched, from 0. */
  long offset();

  /**
   * @param bit from 0, the lowest, to 7
   */
  record FlipBit(long offset, int bit) implements Fault {}

  /** The bytes are missing; those after them follow. */
  record Drop(long offset, long count) implements Fault {}

  /** An orderly end; whatever follows is swallowed. */
  record Truncate(long offset) implements Fault {}

  /** Both ends see a reset. */
  record Cut(long offset) implements Fault {}

  /** From here on nothing passes in this direction. */
  record Stop(long offset) implements Fault {}
}
