package dev.phalanx.trainer.data;

import dev.phalanx.tensor.CounterRandom;

/**
 * Which window of the data each sample of a run is. Samples are numbered through the whole run,
 * over all ranks, so the order depends neither on the ranks nor on the batch, and the position in
 * the data is one number: how many samples have been consumed.
 *
 * <p>Sample k belongs to epoch k / windows. Each epoch is a shuffle of its own in which each window
 * comes exactly once; a table of the order is nowhere kept.
 *
 * @param windows how many windows there are, at least 1
 * @param seed fixes the order
 */
public record SampleOrder(long windows, long seed) {
  public SampleOrder {
    if (windows < 1) {
      throw new IllegalArgumentException("an order of " + windows + " windows, expected 1 or more");
    }
  }

  /** The epoch of this sample, from 0. */
  public long epoch(long sample) {
    return requireSample(sample) / windows;
  }

  /** The window, from 0, that this sample is. */
  public long window(long sample) {
    return new Permutation(windows, CounterRandom.at(seed, epoch(sample))).at(sample % windows);
  }

  private static long requireSample(long sample) {
    if (sample < 0) {
      throw new IndexOutOfBoundsException("sample " + sample + ", expected 0 or more");
    }
    return sample;
  }
}
