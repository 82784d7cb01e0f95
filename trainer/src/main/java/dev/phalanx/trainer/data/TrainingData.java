package dev.phalanx.trainer.data;

import java.util.Optional;

/**
 * What a job learns from, and what it is tested on. The held-out part is the end of the text, and
 * no token of it is in the training part, not even as a target.
 *
 * <pre>
 *   tokens  |0 … T|T … 2T| … |… M·T|  |M·T+1 … |…     |
 *            └── M training windows ─┘  └─ held-out windows ─┘
 * </pre>
 */
public final class TrainingData implements AutoCloseable {
  private final Optional<TokenSource> source;
  private final BatchSource training;
  private final Optional<BatchSource> heldOut;

  private TrainingData(
      Optional<TokenSource> source, BatchSource training, Optional<BatchSource> heldOut) {
    this.source = source;
    this.training = training;
    this.heldOut = heldOut;
  }

  /** Data by formula, which needs no source and holds nothing out. */
  public static TrainingData reference(long seed, long vocabulary, int sequence) {
    return new TrainingData(
        Optional.empty(), new ReferenceBatchSource(seed, vocabulary, sequence), Optional.empty());
  }

  /**
   * Cuts a source into training and held-out samples. The result owns the source and closes it,
   * also when this call fails.
   *
   * @param sequence tokens in a sample
   * @param vocabulary the model's; the source's tokens must be below it
   * @param heldOutFraction of the samples, 0 (nothing) or more and below 1; with any fraction above
   *     0 at least one sample is held out, and at least one is not
   * @param seed fixes the order of training samples
   * @throws DataException if the source is too short or holds a token that the model does not know
   */
  public static TrainingData of(
      TokenSource source, int sequence, long vocabulary, double heldOutFraction, long seed) {
    try {
      return cut(source, sequence, vocabulary, heldOutFraction, seed);
    } catch (RuntimeException | Error e) {
      source.close();
      throw e;
    }
  }

  private static TrainingData cut(
      TokenSource source, int sequence, long vocabulary, double heldOutFraction, long seed) {
    if (sequence < 1 || vocabulary < 1 || !(heldOutFraction >= 0 && heldOutFraction < 1)) {
      throw new IllegalArgumentException(
          "sequence "
              + sequence
              + ", vocabulary "
              + vocabulary
              + " and held-out fraction "
              + heldOutFraction
              + ": expected 1 or more, 1 or more, and at least 0 and below 1");
    }
    long windows = TokenWindows.in(source.count(), sequence);
    if (windows < 1) {
      throw tooShort(source, "one sample of model.sequence " + sequence, sequence + 1L);
    }
    VocabularyCheck.check(source, vocabulary);
    if (heldOutFraction == 0) {
      return assemble(source, windows, 0, 0, sequence, vocabulary, seed);
    }
    long wanted = Math.min(windows - 1, Math.max(1, (long) Math.ceil(windows * heldOutFraction)));
    long trainingWindows = windows - wanted;
    long heldOutStart = trainingWindows * sequence + 1;
    long heldOutWindows = TokenWindows.in(source.count() - heldOutStart, sequence);
    if (heldOutWindows < 1) {
      trainingWindows--;
      heldOutStart -= sequence;
      heldOutWindows = TokenWindows.in(source.count() - heldOutStart, sequence);
    }
    if (trainingWindows < 1) {
      throw tooShort(
          source,
          "one training sample and held-out samples of model.sequence " + sequence,
          2 * (sequence + 1L));
    }
    return assemble(
        source, trainingWindows, heldOutStart, heldOutWindows, sequence, vocabulary, seed);
  }

  private static TrainingData assemble(
      TokenSource source,
      long trainingWindows,
      long heldOutStart,
      long heldOutWindows,
      int sequence,
      long vocabulary,
      long seed) {
    BatchSource training =
        new ShuffledWindows(
            new TokenWindows(source, 0, trainingWindows, sequence, vocabulary),
            new SampleOrder(trainingWindows, seed));
    Optional<BatchSource> heldOut =
        heldOutWindows == 0
            ? Optional.empty()
            : Optional.of(
                new OrderedWindows(
                    new TokenWindows(source, heldOutStart, heldOutWindows, sequence, vocabulary)));
    return new TrainingData(Optional.of(source), training, heldOut);
  }

  private static DataException tooShort(TokenSource source, String what, long needed) {
    return DataException.plan(
        "model.sequence",
        source.name()
            + " holds "
            + source.count()
            + " tokens, but "
            + what
            + " needs "
            + needed
            + " or more; write a smaller model.sequence, hold out less, or give more text");
  }

  /** Training samples, shuffled anew in each epoch. */
  public BatchSource training() {
    return training;
  }

  /** Samples to evaluate on, in the text's order, once each. */
  public Optional<BatchSource> heldOut() {
    return heldOut;
  }

  @Override
  public void close() {
    source.ifPresent(TokenSource::close);
  }
}
