package dev.phalanx.deeplearning4j;

import dev.phalanx.tensor.CounterRandom;
import java.util.List;
import java.util.Objects;
import java.util.function.IntSupplier;
import java.util.stream.IntStream;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;

/**
 * Samples that can be read in any order: {@link IdxImages}, a {@link Table}, or a program's own.
 * They do not change, and any thread may read them; an iterator over them is one thread's.
 */
public interface Samples {

  int count();

  /** Numbers that a sample consists of. */
  int featureCount();

  /** Numbers that a sample is labelled with: one a class, or those to predict. */
  int labelCount();

  /**
   * What the columns of the labels stand for where they are classes, in their order; empty where
   * numbers are predicted.
   */
  List<String> classes();

  /**
   * Copies some samples.
   *
   * @param numbers of one sample or more, each from 0 to {@code count() - 1}, in any order
   * @return features [numbers, features], unless a view says another shape, and labels [numbers,
   *     labels], both of FLOAT
   * @throws IndexOutOfBoundsException where there is no such sample
   */
  DataSet read(int... numbers);

  /**
   * The order of an epoch: all numbers of samples, shuffled (Fisher and Yates, 1938) by what
   * follows from the seed and the epoch alone, so that a resumed run meets the same batches.
   */
  default int[] order(long seed, int epoch) {
    long epochSeed = CounterRandom.at(seed, epoch);
    int[] order = IntStream.range(0, count()).toArray();
    for (int last = order.length - 1; last > 0; last--) {
      int other = (int) (CounterRandom.unit(epochSeed, last) * (last + 1));
      int sample = order[last];
      order[last] = order[other];
      order[other] = sample;
    }
    return order;
  }

  /**
   * A view of some samples that stand one after the other: a held-out part, for example.
   *
   * @throws IndexOutOfBoundsException where there are not as many
   */
  default Samples range(int first, int count) {
    Objects.checkFromIndexSize(first, count, count());
    return new SampleChoice(this, IntStream.range(first, first + count));
  }

  /**
   * A view whose samples have gone through a pre-processor, such as one of ND4J's normalizers. It
   * is called by each thread that reads, with what it reads.
   */
  default Samples preProcessed(DataSetPreProcessor preProcessor) {
    return new PreProcessedSamples(this, preProcessor);
  }

  /** All samples in their own order, for evaluation. */
  default DataSetIterator batches(int size) {
    return new SampleBatches(this, size, () -> IntStream.range(0, count()).toArray());
  }

  /**
   * All samples in the {@linkplain #order order} of an epoch: each has another one.
   *
   * @param epoch asked for when an epoch begins: the network's {@code getEpochCount} as a rule
   */
  default DataSetIterator shuffledBatches(int size, long seed, IntSupplier epoch) {
    return new SampleBatches(this, size, () -> order(seed, epoch.getAsInt()));
  }
}
