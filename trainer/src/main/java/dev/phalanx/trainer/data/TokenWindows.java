package dev.phalanx.trainer.data;

import java.util.Objects;

/**
 * A stretch of a token source, cut into windows of {@code sequence} + 1 tokens at distances of
 * {@code sequence}: a window's last target is the next one's first input, so that each token but
 * the first is predicted exactly once.
 *
 * @param firstToken where window 0 starts
 * @param windows how many there are
 */
record TokenWindows(
    TokenSource source, long firstToken, long windows, int sequence, long vocabulary) {
  /** How many windows {@code tokens} tokens make. */
  static long in(long tokens, int sequence) {
    return tokens <= sequence ? 0 : (tokens - 1) / sequence;
  }

  /**
   * Writes a window's inputs and targets.
   *
   * @param sample where in the arrays it goes, counted in samples
   */
  void read(long window, int sample, long[] inputs, long[] targets) {
    Objects.checkIndex(window, windows);
    long start = firstToken + window * sequence;
    int offset = sample * sequence;
    source.read(start, sequence, inputs, offset);
    System.arraycopy(inputs, offset + 1, targets, offset, sequence - 1);
    source.read(start + sequence, 1, targets, offset + sequence - 1);
    requireVocabulary(start, inputs[offset]);
    for (int t = 0; t < sequence; t++) {
      requireVocabulary(start + 1 + t, targets[offset + t]);
    }
  }

  /** Opening has checked the header's word; this catches a file that was changed behind it. */
  private void requireVocabulary(long position, long token) {
    if (token < 0 || token >= vocabulary) {
      throw VocabularyCheck.outside(source, position, token, vocabulary);
    }
  }

  static void checkRoom(int count, int sequence, long[] inputs, long[] targets) {
    long tokens = Math.multiplyExact((long) count, sequence);
    if (count < 0 || inputs.length < tokens || targets.length < tokens) {
      throw new IndexOutOfBoundsException(
          count
              + " samples of "
              + sequence
              + " tokens do not fit arrays of "
              + inputs.length
              + " inputs and "
              + targets.length
              + " targets");
    }
  }
}
