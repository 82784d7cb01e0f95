package dev.phalanx.checkpoint;

/**
 * A checkpoint could not be written, for want of space for instance, or none can be. Nothing of it
 * is left, and earlier checkpoints are as they were.
 */
public sealed class CheckpointWriteException extends RuntimeException permits FolderInUseException {
  private static final long serialVersionUID = 1L;

  public CheckpointWriteException(String message, Throwable cause) {
    super(message, cause);
  }

  CheckpointWriteException(String message) {
    super(message);
  }
}
