package dev.phalanx.deeplearning4j;

import java.io.IOException;

/** A {@link Table}'s file lacks a column that was asked for. */
final class NoSuchColumnException extends IOException {
  private static final long serialVersionUID = 1L;

  private final String column;

  NoSuchColumnException(String column, String message) {
    super(message);
    this.column = column;
  }

  /** As it was asked for. */
  String column() {
    return column;
  }
}
