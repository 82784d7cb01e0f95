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
  private final String keyPath;

  private DataException(Kind kind, String keyPath, String message) {
    super(message);
    this.kind = kind;
    this.keyPath = keyPath;
  }

  private DataException(Kind kind, String keyPath, String message, Throwable cause) {
    super(message, cause);
    this.kind = kind;
    this.keyPath = keyPath;
  }

  /** Where what was asked for does not fit the data, by no key of a plan. */
  public static DataException plan(String message) {
    return plan("", message);
  }

  /**
   * @param keyPath the plan's key that needs another value, {@code model.vocab}
   */
  public static DataException plan(String keyPath, String message) {
    return new DataException(Kind.PLAN, keyPath, message);
  }

  static DataException inputOutput(String message) {
    return inputOutput("", message);
  }

  /**
   * @param keyPath the plan's key that names the file, {@code data.path}
   */
  public static DataException inputOutput(String keyPath, String message) {
    return new DataException(Kind.INPUT_OUTPUT, keyPath, message);
  }

  static DataException inputOutput(String message, Throwable cause) {
    return new DataException(Kind.INPUT_OUTPUT, "", message, cause);
  }

  public Kind kind() {
    return kind;
  }

  /** The plan's key that leads to it; empty where there is none. */
  public String keyPath() {
    return keyPath;
  }

  /**
   * The same with the place where the plan gives the key, as mistakes of the plan itself have it.
   *
   * @param position {@code configs/a.yaml:12:3}
   */
  public DataException at(String position) {
    return new DataException(kind, keyPath, position + ": " + keyPath + ": " + getMessage(), this);
  }
}
