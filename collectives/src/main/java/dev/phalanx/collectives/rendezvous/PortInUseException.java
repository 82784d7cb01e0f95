package dev.phalanx.collectives.rendezvous;

import java.io.IOException;

/** Another process listens where the rendezvous should. */
public final class PortInUseException extends IOException {
  private static final long serialVersionUID = 1L;

  public PortInUseException(String message, Throwable cause) {
    super(message, cause);
  }
}
