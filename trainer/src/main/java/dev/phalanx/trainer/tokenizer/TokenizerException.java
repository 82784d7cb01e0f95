package dev.phalanx.trainer.tokenizer;

/**
 * A tokenizer cannot be opened: its file is missing or bad, or its native library does not load.
 */
public final class TokenizerException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  TokenizerException(String message) {
    super(message);
  }

  TokenizerException(String message, Throwable cause) {
    super(message, cause);
  }
}
