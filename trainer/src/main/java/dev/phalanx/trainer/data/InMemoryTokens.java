package dev.phalanx.trainer.data;

import java.util.Arrays;
import java.util.Objects;

/** Tokens in an array. */
public final class InMemoryTokens implements TokenSource {
  private final String name;
  private final long vocabularySize;
  private final long[] tokens;
  private volatile boolean closed;

  /** Copies {@code tokens}, each from 0 to {@code vocabularySize} - 1. */
  public InMemoryTokens(String name, long vocabularySize, long... tokens) {
    for (int i = 0; i < tokens.length; i++) {
      if (tokens[i] < 0 || tokens[i] >= vocabularySize) {
        throw new IllegalArgumentException(
            name
                + " holds token "
                + tokens[i]
                + " at position "
                + i
                + ", expected 0 to "
                + (vocabularySize - 1));
      }
    }
    this.name = name;
    this.vocabularySize = vocabularySize;
    this.tokens = tokens.clone();
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public long count() {
    return tokens.length;
  }

  @Override
  public long vocabularySize() {
    return vocabularySize;
  }

  @Override
  public long maximumToken() {
    return Arrays.stream(tokens).max().orElse(-1);
  }

  @Override
  public void read(long start, int length, long[] out, int offset) {
    if (closed) {
      throw new IllegalStateException(name + " is closed");
    }
    Objects.checkFromIndexSize(start, length, tokens.length);
    System.arraycopy(tokens, (int) start, out, offset, length);
  }

  @Override
  public void close() {
    closed = true;
  }
}
