package dev.phalanx.trainer.data;

/**
 * Samples by number: what a model reads and what it should predict. Any thread may ask, also
 * several at once, and the answer depends on the sample's number only.
 */
public interface BatchSource {
  /** Tokens in a sample. */
  int sequence();

  /**
   * Samples until every window of the data has come once; {@link Long#MAX_VALUE} where data never
   * repeats.
   */
  long samplesPerEpoch();

  /**
   * Writes samples one after the other.
   *
   * @param firstSample the first one's number
   * @param count how many
   * @param inputs takes [count, sequence] tokens
   * @param targets takes [count, sequence] tokens: for each input the token that follows it
   * @throws DataException if the data holds a token that the model has no place for
   * @throws IndexOutOfBoundsException if there is no such sample, or an array is too short
   */
  void fill(long firstSample, int count, long[] inputs, long[] targets);
}
