package dev.phalanx.deeplearning4j;

import java.util.stream.IntStream;
import org.nd4j.linalg.dataset.DataSet;

/** Some of the samples, in an order of their own. */
final class SampleChoice extends SampleView {
  private final int[] numbers;

  SampleChoice(Samples all, IntStream numbers) {
    super(all);
    this.numbers = numbers.toArray();
  }

  @Override
  public int count() {
    return numbers.length;
  }

  @Override
  public DataSet read(int... wanted) {
    return all().read(IntStream.of(wanted).map(number -> numbers[number]).toArray());
  }
}
