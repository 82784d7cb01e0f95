package dev.phalanx.deeplearning4j;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.dataset.api.MultiDataSet;
import org.nd4j.linalg.dataset.api.MultiDataSetPreProcessor;
import org.nd4j.linalg.dataset.api.iterator.MultiDataSetIterator;

/** Iterates over batches of several inputs and outputs, for which Deeplearning4j has nothing. */
final class GivenBatches implements MultiDataSetIterator {
  private final List<? extends MultiDataSet> batches;
  private int next;

  GivenBatches(List<? extends MultiDataSet> batches) {
    this.batches = batches;
  }

  @Override
  public boolean hasNext() {
    return next < batches.size();
  }

  @Override
  public MultiDataSet next() {
    return batches.get(next++);
  }

  @Override
  public MultiDataSet next(int count) {
    throw new UnsupportedOperationException("Batches are as they are given");
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
  public void reset() {
    next = 0;
  }

  @Override
  public void setPreProcessor(MultiDataSetPreProcessor preProcessor) {
    throw new UnsupportedOperationException("Batches are as they are given");
  }

  @Override
  @SuppressWarnings("NullAway") // as Deeplearning4j's iterators have none
  public @Nullable MultiDataSetPreProcessor getPreProcessor() {
    return null;
  }
}
