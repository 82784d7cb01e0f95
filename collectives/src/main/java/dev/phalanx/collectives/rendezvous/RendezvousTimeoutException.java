package dev.phalanx.collectives.rendezvous;

/** Not all ranks have come in time. The message names the missing ones. */
public final class RendezvousTimeoutException extends RendezvousException {
  private static final long serialVersionUID = 1L;

  public RendezvousTimeoutException(String message) {
    super(message);
  }
}
