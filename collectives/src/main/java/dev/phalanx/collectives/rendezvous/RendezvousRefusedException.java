package dev.phalanx.collectives.rendezvous;

/**
 * The rendezvous does not take this rank: another job, a rank that is there already, another size.
 */
public final class RendezvousRefusedException extends RendezvousException {
  private static final long serialVersionUID = 1L;

  public RendezvousRefusedException(String message) {
    super(message);
  }
}
