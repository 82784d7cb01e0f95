package dev.phalanx.deeplearning4j;

import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;

/** See {@link Samples#preProcessed}. */
final class PreProcessedSamples extends SampleView {
  private final DataSetPreProcessor preProcessor;

  PreProcessedSamples(Samples all, DataSetPreProcessor preProcessor) {
    super(all);
    this.preProcessor = preProcessor;
  }

  @Override
  public DataSet read(int... numbers) {
    DataSet samples = all().read(numbers);
    preProcessor.preProcess(samples);
    return samples;
  }
}
