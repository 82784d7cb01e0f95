package dev.phalanx.deeplearning4j;

import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.nd4j.linalg.dataset.DataSet;

/** See {@link Samples#range}. */
record SampleRange(Samples all, int first, int count) implements Samples {
  SampleRange {
    Objects.checkFromIndexSize(first, count, all.count());
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
    return all.read(
        IntStream.of(numbers).map(number -> first + Objects.checkIndex(number, count)).toArray());
  }
}
