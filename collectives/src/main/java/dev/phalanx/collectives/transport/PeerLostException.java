package dev.phalanx.collectives.transport;

/** A peer cannot be reached any more, or has said that it cannot go on. */
public final class PeerLostException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final int peer;

  /**
   * @param reason a clause that goes on after the rank's name: {@code has closed its connection}
   */
  public PeerLostException(int peer, String reason) {
    super(reason);
    this.peer = peer;
  }

  public int peer() {
    return peer;
  }
}
