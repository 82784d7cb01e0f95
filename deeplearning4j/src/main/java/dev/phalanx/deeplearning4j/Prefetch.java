package dev.phalanx.deeplearning4j;

import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.dataset.AsyncMultiDataSetIterator;
import org.nd4j.linalg.dataset.api.MultiDataSet;
import org.nd4j.linalg.dataset.api.iterator.MultiDataSetIterator;

/**
 * An epoch's batches, of which the next ones are read while one is trained on, as Deeplearning4j's
 * own fit does.
 */
final class Prefetch implements AutoCloseable {
  private static final int BATCHES = 2;

  private final MultiDataSetIterator batches;
  private final @Nullable AsyncMultiDataSetIterator started;

  /**
   * @param source begun anew where it is at its end
   * @param done batches that are left out
   */
  Prefetch(MultiDataSetIterator source, long done) {
    if (!source.hasNext() && source.resetSupported()) {
      source.reset();
    }
    this.started =
        source.asyncSupported() ? new AsyncMultiDataSetIterator(source, BATCHES, true) : null;
    this.batches = started == null ? source : started;
    for (long i = 0; i < done && batches.hasNext(); i++) {
      batches.next();
    }
  }

  /** The next batch; null at the end. */
  @Nullable MultiDataSet next() {
    return batches.hasNext() ? batches.next() : null;
  }

  @Override
  public void close() {
    if (started != null) {
      started.shutdown();
    }
  }
}
