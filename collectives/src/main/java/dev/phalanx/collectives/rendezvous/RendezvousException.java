package dev.phalanx.collectives.rendezvous;

import dev.phalanx.collectives.CollectiveException;

/** The ranks of a job have not come together. */
public class RendezvousException extends CollectiveException {
  private static final long serialVersionUID = 1L;

  public RendezvousException(String message) {
    super(message);
  }
}
