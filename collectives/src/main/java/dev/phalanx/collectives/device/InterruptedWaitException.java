package dev.phalanx.collectives.device;

/**
 * The thread was interrupted while it waited for other ranks, in the midst of a pass. The interrupt
 * is still set.
 */
public final class InterruptedWaitException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public InterruptedWaitException(InterruptedException cause) {
    super("Interrupted while waiting for other ranks", cause);
  }
}
