package dev.phalanx.deeplearning4j;

import java.util.Arrays;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;

/** Epochs of samples, a batch after the other, for Deeplearning4j's own loops. */
final class SampleBatches implements DataSetIterator {
  private static final long serialVersionUID = 1L;

  private final transient Samples samples;
  private final int size;
  private final transient Supplier<int[]> orders; // asked when an epoch begins
  private transient int @Nullable [] order;
  private transient @Nullable DataSetPreProcessor preProcessor;
  private int next;

  SampleBatches(Samples samples, int size, Supplier<int[]> orders) {
    if (size < 1) {
      throw new IllegalArgumentException("A batch has 1 sample or more, not " + size);
    }
    this.samples = samples;
    this.size = size;
    this.orders = orders;
  }

  private int[] order() {
    int[] known = order;
    if (known == null) {
      known = orders.get();
      order = known;
    }
    return known;
  }

  @Override
  public boolean hasNext() {
    return next < samples.count();
  }

  @Override
  public DataSet next() {
    return next(size);
  }

  @Override
  public DataSet next(int wanted) {
    if (!hasNext()) {
      throw new NoSuchElementException("The epoch's samples are read");
    }
    int end = next + Math.min(wanted, samples.count() - next);
    DataSet batch = samples.read(Arrays.copyOfRange(order(), next, end));
    next = end;
    DataSetPreProcessor last = preProcessor;
    if (last != null) {
      last.preProcess(batch);
    }
    return batch;
  }

  @Override
  public void reset() {
    next = 0;
    order = null;
  }

  @Override
  public boolean resetSupported() {
    return true;
  }

  @Override
  public boolean asyncSupported() {
    return true;
  }

  @Override
  public int batch() {
    return size;
  }

  @Override
  public int inputColumns() {
    return samples.featureCount();
  }

  @Override
  public int totalOutcomes() {
    return samples.labelCount();
  }

  @Override
  public void setPreProcessor(DataSetPreProcessor wanted) {
    preProcessor = wanted;
  }

  @Override
  public @Nullable DataSetPreProcessor getPreProcessor() {
    return preProcessor;
  }

  /** Deeplearning4j expects null, not an empty list, where labels are no classes. */
  @Override
  public @Nullable List<String> getLabels() {
    List<String> classes = samples.classes();
    return classes.isEmpty() ? null : classes;
  }
}
