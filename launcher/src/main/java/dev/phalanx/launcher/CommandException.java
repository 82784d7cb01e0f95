package dev.phalanx.launcher;

/** A command cannot go on; its message is for the user as it is. */
public final class CommandException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final ExitStatus status;

  public CommandException(ExitStatus status, String message) {
    super(message);
    this.status = status;
  }

  public CommandException(ExitStatus status, String message, Throwable cause) {
    super(message, cause);
    this.status = status;
  }

  public ExitStatus status() {
    return status;
  }

  /** A wrong use of the command line. */
  public static CommandException usage(String message) {
    return new CommandException(ExitStatus.USAGE, message);
  }
}
