package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.MultiDataSet;
import org.nd4j.linalg.dataset.api.MultiDataSetPreProcessor;
import org.nd4j.linalg.dataset.api.iterator.MultiDataSetIterator;

final class PrefetchTest {
  private static final List<DataSet> BATCHES = Networks.vectors(4, 3, 2, 1, 5);

  /**
   * Of {@link #BATCHES}.
   *
   * @param failing the batch that cannot be read; -1: none
   */
  private static MultiDataSetIterator source(boolean isAsync, boolean canReset, int failing) {
    return new MultiDataSetIterator() {
      private static final long serialVersionUID = 1L;

      private int next;

      @Override
      public boolean hasNext() {
        return next < BATCHES.size();
      }

      @Override
      public MultiDataSet next() {
        if (next == failing) {
          throw new IllegalStateException("the disk is gone");
        }
        return BATCHES.get(next++).toMultiDataSet();
      }

      @Override
      public MultiDataSet next(int samples) {
        return next();
      }

      @Override
      public boolean resetSupported() {
        return canReset;
      }

      @Override
      public boolean asyncSupported() {
        return isAsync;
      }

      @Override
      public void reset() {
        next = 0;
      }

      @Override
      public void setPreProcessor(MultiDataSetPreProcessor wanted) {
        throw new UnsupportedOperationException("not asked for");
      }

      @Override
      public MultiDataSetPreProcessor getPreProcessor() {
        throw new UnsupportedOperationException("not asked for");
      }
    };
  }

  private static List<Long> samples(Prefetch prefetch) throws InterruptedException {
    List<Long> samples = new ArrayList<>();
    for (MultiDataSet batch = prefetch.next(); batch != null; batch = prefetch.next()) {
      samples.add(Shares.samples(batch));
    }
    return samples;
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void batchesComeInTheirOrderAndTheEndStaysTheEnd(boolean isAsync) throws Exception {
    MultiDataSetIterator source = source(isAsync, true, -1);
    try (Prefetch prefetch = new Prefetch(source, 0)) {
      assertThat(samples(prefetch)).containsExactly(4L, 3L, 2L, 1L, 5L);
      assertThat(prefetch.next()).isNull();
      assertThat(prefetch.skippedSample()).isNull();
    }
    try (Prefetch prefetch = new Prefetch(source, 3)) { // begun anew
      assertThat(samples(prefetch)).containsExactly(1L, 5L);
      MultiDataSet skipped = prefetch.skippedSample();
      assertThat(skipped).isNotNull();
      assertThat(skipped.getFeatures(0)).isEqualTo(BATCHES.get(0).getFeatures().getRow(0, true));
    }
  }

  @ParameterizedTest
  @CsvSource({"true,0", "true,3", "false,0", "false,3"})
  void whatTheSourceThrowsNextThrowsAndSoDoesFit(boolean isAsync, int failing) throws Exception {
    try (Prefetch prefetch = new Prefetch(source(isAsync, true, failing), 0)) {
      for (int batch = 0; batch < failing; batch++) {
        assertThat(prefetch.next()).isNotNull();
      }
      assertThatThrownBy(prefetch::next).hasMessage("the disk is gone");
      assertThatThrownBy(prefetch::next).hasMessage("the disk is gone");
    }

    MultiLayerNetwork network = Networks.dense(builder -> builder);
    try (var training = ParallelTraining.threads(network, 2)) {
      assertThatThrownBy(() -> training.fit(source(isAsync, true, failing), 1))
          .hasMessage("the disk is gone");
      training.fit(source(isAsync, true, -1), 1);
    }
    assertThat(network.getIterationCount()).isEqualTo(failing + BATCHES.size());
  }

  @Test
  void anEpochThatEndsEarlyLeavesNoThreadBehind() throws Exception {
    String name = "batches of " + Thread.currentThread().getName();
    Prefetch prefetch = new Prefetch(source(true, true, -1), 0);
    prefetch.next();
    assertThat(Thread.getAllStackTraces().keySet()).extracting(Thread::getName).contains(name);

    prefetch.close();

    assertThat(Thread.getAllStackTraces().keySet())
        .extracting(Thread::getName)
        .doesNotContain(name);
  }

  @Test
  void severalEpochsOfWhatIsReadOnceAndEpochsWithoutABatchAreRefused() throws Exception {
    MultiLayerNetwork network = Networks.dense(builder -> builder);
    MultiDataSetIterator once = source(true, false, -1);

    try (var training = ParallelTraining.threads(network, 2)) {
      assertThatThrownBy(() -> training.fit(once, 2))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("cannot be reset")
          .hasMessageContaining("1 epoch and not for 2");
      training.fit(once, 1);
      assertThatThrownBy(() -> training.fit(once, 1))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("The epoch had no batch");
      training.fit(source(true, false, -1), 1);
    }
    assertThat(network.getEpochCount()).isEqualTo(2);
  }
}
