package dev.phalanx.collectives;

/** Failures that more than one caller hears of. */
final class Failure {
  private Failure() {}

  /** A failure of the same kind with the caller's own stack, the first one as its cause. */
  static CollectiveException forCaller(CollectiveException failure) {
    String message = String.valueOf(failure.getMessage());
    CollectiveException copy;
    if (failure instanceof CollectiveTimeoutException) {
      copy = new CollectiveTimeoutException(message);
    } else if (failure instanceof CollectiveMismatchException) {
      copy = new CollectiveMismatchException(message);
    } else {
      copy = new CollectiveException(message);
    }
    copy.initCause(failure);
    return copy;
  }
}
