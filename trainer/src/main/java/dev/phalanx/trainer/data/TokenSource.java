package dev.phalanx.trainer.data;

/**
 * A long row of tokens, numbered from 0. Any thread may read, also several at once; after {@link
 * #close()} every read throws {@link IllegalStateException}.
 */
public interface TokenSource extends AutoCloseable {
  /** What messages call it, such as {@code data/moby-dick.txt}. */
  String name();

  /** Tokens in all. */
  long count();

  /** The size of the vocabulary that the tokens come from: each is below it. */
  long vocabularySize();

  /** No token is larger than this; -1 where there are no tokens. */
  long maximumToken();

  /**
   * Copies tokens.
   *
   * @param start the first token's number
   * @param length how many tokens
   * @param out takes them
   * @param offset where in {@code out} the first one goes
   * @throws IndexOutOfBoundsException if the tokens or the places do not exist
   */
  void read(long start, int length, long[] out, int offset);

  @Override
  void close();
}
