package dev.phalanx.trainer.data;

import dev.phalanx.tensor.CounterRandom;

/**
 * Data made by a formula ({@code data.kind: reference}), to compare implementations and layouts on
 * the same bits without a file. Sample k has seed d = at(seed, k), and with r_t = at(d, t) of
 * {@link CounterRandom}: token 0 is (r_0 >>> 8) mod V; token t is (r_t >>> 8) mod V where r_t's
 * upper three bits are zero, and else (3 token_{t-1} + 7) mod V. So seven tokens of eight follow
 * from the one before, which a model can learn.
 */
public final class ReferenceBatchSource implements BatchSource {
  private final long seed;
  private final long vocabulary;
  private final int sequence;

  public ReferenceBatchSource(long seed, long vocabulary, int sequence) {
    if (vocabulary < 1 || sequence < 1) {
      throw new IllegalArgumentException(
          "reference data of vocabulary "
              + vocabulary
              + " and sequence "
              + sequence
              + ": both must be 1 or more");
    }
    this.seed = seed;
    this.vocabulary = vocabulary;
    this.sequence = sequence;
  }

  @Override
  public int sequence() {
    return sequence;
  }

  @Override
  public long samplesPerEpoch() {
    return Long.MAX_VALUE;
  }

  @Override
  public void fill(long firstSample, int count, long[] inputs, long[] targets) {
    TokenWindows.checkRoom(count, sequence, inputs, targets);
    for (int i = 0; i < count; i++) {
      fillSample(CounterRandom.at(seed, firstSample + i), i * sequence, inputs, targets);
    }
  }

  private void fillSample(long sampleSeed, int offset, long[] inputs, long[] targets) {
    long token = drawn(CounterRandom.at(sampleSeed, 0));
    for (int t = 0; t < sequence; t++) {
      inputs[offset + t] = token;
      long random = CounterRandom.at(sampleSeed, t + 1);
      token = random >>> 61 == 0 ? drawn(random) : (3 * token + 7) % vocabulary;
      targets[offset + t] = token;
    }
  }

  private long drawn(long random) {
    return (random >>> 8) % vocabulary;
  }
}
