package dev.phalanx.checkpoint;

/**
 * A checkpoint or weights file is damaged, is of another kind than its name says, or does not fit
 * the job. The message names the file and what to do.
 */
public final class BadCheckpointException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public BadCheckpointException(String message) {
    super(message);
  }

  public BadCheckpointException(String message, Throwable cause) {
    super(message, cause);
  }
}
