package dev.phalanx.deeplearning4j;

import java.util.List;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;

/** See {@link Samples#preProcessed}. */
record PreProcessedSamples(Samples all, DataSetPreProcessor preProcessor) implements Samples {

  @Override
  public int count() {
    return all.count();
  }

  @Override
  public int featureCount() {
    return all.featureCount();
  }

  @Override
  public int labelCount() {
    return all.labelCount();
  }

  @Override
  public List<String> classes() {
    return all.classes();
  }

  @Override
  public DataSet read(int... numbers) {
    DataSet samples = all.read(numbers);
    preProcessor.preProcess(samples);
    return samples;
  }
}
