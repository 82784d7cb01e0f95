package dev.phalanx.deeplearning4j;

import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.api.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;

/**
 * Turns flat images, [n, rows * columns], into what convolutional layers take: [n, 1, rows,
 * columns].
 */
record ImageShape(int rows, int columns) implements DataSetPreProcessor {
  private static final int CHANNELS = 1;

  @Override
  public void preProcess(DataSet images) {
    try (INDArray pixels = images.getFeatures()) {
      // A copy, because ND4J frees no view when it is closed, as batches are after their step.
      images.setFeatures(pixels.reshape(pixels.size(0), CHANNELS, rows, columns).dup('c'));
    }
  }

  /** Of one image, as messages say it. */
  @Override
  public String toString() {
    return CHANNELS + " x " + rows + " x " + columns;
  }
}
