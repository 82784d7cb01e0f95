package dev.phalanx.collectives.transport;

/** Nothing came from a peer, or went to it, within the time allowed. */
public final class ReceiveTimeoutException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final int peer;
  private final Deadline deadline;

  public ReceiveTimeoutException(int peer, Deadline deadline) {
    super("nothing heard of rank " + peer + " for " + deadline.text());
    this.peer = peer;
    this.deadline = deadline;
  }

  public int peer() {
    return peer;
  }

  public Deadline deadline() {
    return deadline;
  }
}
