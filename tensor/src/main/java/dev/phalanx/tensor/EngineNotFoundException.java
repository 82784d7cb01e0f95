package dev.phalanx.tensor;

/**
 * No engine of the wanted name is on the class path, or it cannot use the wanted device. The
 * message says which there are.
 */
public final class EngineNotFoundException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public EngineNotFoundException(String message) {
    super(message);
  }
}
