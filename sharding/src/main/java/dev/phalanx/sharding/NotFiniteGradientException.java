package dev.phalanx.sharding;

/** A gradient of this rank is infinite or no number, and error feedback would keep it for ever. */
public final class NotFiniteGradientException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  NotFiniteGradientException(String message) {
    super(message);
  }
}
