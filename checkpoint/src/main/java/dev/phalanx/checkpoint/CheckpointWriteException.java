package dev.phalanx.checkpoint;

/**
 * A checkpoint could not be written, for want of space for instance. Nothing of it is left, and
 * earlier checkpoints are as they were.
 */
public final class CheckpointWriteException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public CheckpointWriteException(String message, Throwable cause) {
    super(message, cause);
  }
}
