package dev.phalanx.trainer.data;

/** The data cannot be used as the plan asks. */
public final class DataException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Who has to act. */
  public enum Kind {
    /** The plan or the command does not fit the data: another value is needed. */
    PLAN,
    /** A file is missing, damaged, changed or cannot be written. */
    INPUT_OUTPUT
  }

  private final Kind kind;

  private DataException(Kind kind, String message) {
    super(message);
    this.kind = kind;
  }

  private DataException(Kind kind, String message, Throwable cause) {
    super(message, cause);
    this.kind = kind;
  }

  public static DataException plan(String message) {
    return new DataException(Kind.PLAN, message);
  }

  static DataException inputOutput(String message) {
    return new DataException(Kind.INPUT_OUTPUT, message);
  }

  static DataException inputOutput(String message, Throwable cause) {
    return new DataException(Kind.INPUT_OUTPUT, message, cause);
  }

  public Kind kind() {
    return kind;
  }
}
