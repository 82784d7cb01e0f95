package dev.phalanx.launcher;

/**
 * What went wrong, as one rank or command sees it.
 *
 * @param message what happened and what to do
 * @param stackTrace shown with {@code --verbose}; may be empty
 */
public record Failure(ExitStatus status, Blame blame, String message, String stackTrace) {
  /** Where the cause of a failure lies, the most telling first. */
  public enum Blame {
    /** In the rank that reports it. */
    OWN,
    /** Between ranks: nobody knows in which. */
    SHARED,
    /** In another rank; this one only lost it. */
    OTHERS
  }
}
