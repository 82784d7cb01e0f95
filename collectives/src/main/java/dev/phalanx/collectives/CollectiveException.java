package dev.phalanx.collectives;

/**
 * An operation failed. The message reads {@code rank 3/8 all_reduce #1204 in group data[0]: what
 * happened. What to do.}
 */
public class CollectiveException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public CollectiveException(String message) {
    super(message);
  }

  public CollectiveException(String message, Throwable cause) {
    super(message, cause);
  }
}
