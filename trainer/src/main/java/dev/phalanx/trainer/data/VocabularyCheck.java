package dev.phalanx.trainer.data;

/** Makes sure that a model has a row for every token of its data. */
final class VocabularyCheck {
  private static final int PART = 1 << 16;

  private VocabularyCheck() {}

  /**
   * Reads the tokens only where the source cannot rule out a token that is too large.
   *
   * @throws DataException if there is one
   */
  static void check(TokenSource source, long vocabulary) {
    if (source.maximumToken() < vocabulary) {
      return;
    }
    long[] tokens = new long[PART];
    for (long start = 0; start < source.count(); start += PART) {
      int length = (int) Math.min(PART, source.count() - start);
      source.read(start, length, tokens, 0);
      for (int i = 0; i < length; i++) {
        if (tokens[i] < 0 || tokens[i] >= vocabulary) {
          throw outside(source, start + i, tokens[i], vocabulary);
        }
      }
    }
  }

  static DataException outside(TokenSource source, long position, long token, long vocabulary) {
    if (token < 0 || token >= source.vocabularySize()) {
      return DataException.inputOutput(
          source.name()
              + " holds token "
              + token
              + " at position "
              + position
              + " but its own vocabulary is "
              + source.vocabularySize()
              + ": it is damaged; make it again with \"phalanx data prepare\"");
    }
    return DataException.plan(
        "model.vocab",
        source.name()
            + " holds token "
            + token
            + " at position "
            + position
            + " but model.vocab is "
            + vocabulary
            + "; write model.vocab: "
            + source.vocabularySize()
            + " or more, which its tokenizer's vocabulary needs");
  }
}
