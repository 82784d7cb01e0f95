package dev.phalanx.parallelism.pipeline;

/** A schedule that cannot be run, in one sentence that names the rank and the action. */
public final class ScheduleException extends IllegalArgumentException {
  private static final long serialVersionUID = 1;

  public ScheduleException(String message) {
    super(message);
  }
}
