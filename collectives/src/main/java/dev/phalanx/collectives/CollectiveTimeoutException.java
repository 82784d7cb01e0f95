package dev.phalanx.collectives;

/** An operation's deadline passed. The message names the rank that was waited for. */
public final class CollectiveTimeoutException extends CollectiveException {
  private static final long serialVersionUID = 1L;

  public CollectiveTimeoutException(String message) {
    super(message);
  }
}
