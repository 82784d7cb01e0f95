package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.factory.Nd4j;

final class SamplesTest {

  /** Sample i has the feature i and the label -i. */
  private record Counted(int count) implements Samples {
    @Override
    public int featureCount() {
      return 1;
    }

    @Override
    public int labelCount() {
      return 1;
    }

    @Override
    public List<String> classes() {
      return List.of();
    }

    @Override
    public DataSet read(int... numbers) {
      float[] features = new float[numbers.length];
      for (int sample = 0; sample < numbers.length; sample++) {
        features[sample] = numbers[sample];
      }
      return new DataSet(
          Nd4j.create(features, new int[] {features.length, 1}, 'c'),
          Nd4j.create(features, new int[] {features.length, 1}, 'c').neg());
    }
  }

  private static List<Integer> features(DataSetIterator batches) {
    List<Integer> found = new ArrayList<>();
    while (batches.hasNext()) {
      for (float feature : batches.next().getFeatures().toFloatVector()) {
        found.add((int) feature);
      }
    }
    return found;
  }

  @Property(tries = 50)
  void anOrderIsAPermutationThatFollowsFromSeedAndEpoch(
      @ForAll @IntRange(min = 1, max = 200) int count, @ForAll long seed, @ForAll int epoch) {
    Samples samples = new Counted(count);

    int[] order = samples.order(seed, epoch);

    assertThat(order).containsExactlyInAnyOrder(IntStream.range(0, count).toArray());
    assertThat(samples.order(seed, epoch)).isEqualTo(order);
    if (count > 20) { // where two orders in 20! are not the same by chance
      assertThat(samples.order(seed, epoch + 1)).isNotEqualTo(order);
      assertThat(samples.order(seed + 1, epoch)).isNotEqualTo(order);
    }
  }

  /** Runs are resumed in this order, and a figure in the documentation came of it. */
  @Example
  void anOrderIsTheSameInAllVersions() {
    assertThat(new Counted(10).order(1, 0)).containsExactly(9, 5, 0, 3, 7, 6, 4, 8, 1, 2);
    assertThat(new Counted(10).order(1, 1)).containsExactly(5, 3, 0, 8, 7, 4, 9, 1, 6, 2);
  }

  @Property(tries = 30)
  void batchesAreAllSamplesInOrder(
      @ForAll @IntRange(min = 1, max = 40) int count,
      @ForAll @IntRange(min = 1, max = 50) int size,
      @ForAll long seed) {
    Samples samples = new Counted(count);
    AtomicInteger epoch = new AtomicInteger();
    DataSetIterator shuffled = samples.shuffledBatches(size, seed, epoch::get);

    assertThat(features(samples.batches(size)))
        .containsExactlyElementsOf(IntStream.range(0, count).boxed().toList());
    for (int passed = 0; passed < 3; passed++) {
      epoch.set(passed);
      shuffled.reset();
      assertThat(features(shuffled))
          .containsExactlyElementsOf(IntStream.of(samples.order(seed, passed)).boxed().toList());
    }
  }

  @Property(tries = 50)
  void aRangeIsThePartAndHasAnOrderOfItsOwn(
      @ForAll @IntRange(min = 1, max = 60) int count,
      @ForAll @IntRange(max = 59) int first,
      @ForAll @IntRange(max = 59) int length) {
    Samples samples = new Counted(count);
    if (first + length > count) {
      assertThatThrownBy(() -> samples.range(first, length))
          .isInstanceOf(IndexOutOfBoundsException.class);
      return;
    }

    Samples part = samples.range(first, length);

    assertThat(part.count()).isEqualTo(length);
    assertThat(features(part.batches(7)))
        .containsExactlyElementsOf(IntStream.range(first, first + length).boxed().toList());
    assertThat(part.order(1, 2)).isEqualTo(new Counted(length).order(1, 2));
    assertThatThrownBy(() -> part.read(length)).isInstanceOf(IndexOutOfBoundsException.class);
  }

  @Example
  void aPreProcessorChangesWhatIsReadAndNotWhatIsKept() {
    Samples samples = new Counted(10);
    Samples doubled = samples.range(5, 5).preProcessed(batch -> batch.getFeatures().muli(2));

    assertThat(doubled.count()).isEqualTo(5);
    for (int time = 0; time < 2; time++) {
      assertThat(doubled.read(1, 0).getFeatures().toFloatVector()).containsExactly(12, 10);
    }
    assertThat(samples.read(6).getFeatures().toFloatVector()).containsExactly(6);
  }

  @Example
  void anIteratorSaysWhatDeeplearning4jAsksIt() {
    DataSetIterator batches = new Counted(3).batches(2);

    assertThat(batches.getLabels()).isNull(); // no classes
    assertThat(batches.batch()).isEqualTo(2);
    assertThat(batches.inputColumns()).isEqualTo(1);
    assertThat(batches.totalOutcomes()).isEqualTo(1);
    batches.setPreProcessor(batch -> batch.getFeatures().addi(1));
    assertThat(features(batches)).containsExactly(1, 2, 3);
    assertThatThrownBy(batches::next).hasMessageContaining("are read");
    assertThatThrownBy(() -> new Counted(3).batches(0)).hasMessageContaining("1 sample or more");
  }
}
