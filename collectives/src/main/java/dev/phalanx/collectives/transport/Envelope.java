package dev.phalanx.collectives.transport;

/** What stands on a message beside its content. */
public interface Envelope {
  /** The piece number of a message that has no part in its call. */
  int WAITING = -1;

  /** What the sender is doing. */
  Call call();

  /**
   * The message's number among those that the sender sent to this rank in the same call, from 0;
   * {@link #WAITING}: the sender has waited for this rank for a while and only tells in which call.
   */
  int piece();

  /** Whether it only tells where the sender waits. */
  default boolean isWaiting() {
    return piece() == WAITING;
  }
}
