package dev.phalanx.trainer;

/** The loss or the gradient is no finite number any more, so training has stopped. */
public final class NotFiniteException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public NotFiniteException(String message) {
    super(message);
  }
}
