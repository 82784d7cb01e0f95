package dev.phalanx.deeplearning4j;

import org.nd4j.linalg.dataset.DataSet;

/**
 * Samples whose memory is freed when they are not needed any more, and not when that is noticed.
 */
record Batch(DataSet samples) implements AutoCloseable {
  @Override
  public void close() {
    samples.getFeatures().close();
    samples.getLabels().close();
  }
}
