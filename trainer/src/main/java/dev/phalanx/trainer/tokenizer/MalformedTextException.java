package dev.phalanx.trainer.tokenizer;

import java.io.IOException;

/** A text that should be UTF-8 is not. */
public final class MalformedTextException extends IOException {
  private static final long serialVersionUID = 1L;

  private final long bytePosition;

  MalformedTextException(long bytePosition) {
    super(
        "byte "
            + bytePosition
            + " does not go on as UTF-8; convert the text to UTF-8, or use the tokenizer \"bytes\","
            + " which takes any bytes");
    this.bytePosition = bytePosition;
  }

  /** Where the first byte sequence that is not UTF-8 starts, from 0. */
  public long bytePosition() {
    return bytePosition;
  }
}
