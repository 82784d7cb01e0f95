package dev.phalanx.trainer.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.stream.LongStream;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;

class SampleOrderTest {
  @Property(tries = 300)
  void eachWindowComesExactlyOnceInAnEpoch(
      @ForAll @IntRange(min = 1, max = 5000) int windows,
      @ForAll long seed,
      @ForAll @IntRange(min = 0, max = 1000) int epoch) {
    SampleOrder order = new SampleOrder(windows, seed);
    BitSet seen = new BitSet(windows);

    for (long k = (long) epoch * windows; k < (epoch + 1L) * windows; k++) {
      long window = order.window(k);
      assertThat(window).isBetween(0L, windows - 1L);
      assertThat(order.epoch(k)).isEqualTo(epoch);
      seen.set((int) window);
    }

    assertThat(seen.cardinality()).isEqualTo(windows);
  }

  @Example
  void everySmallSizeIsAPermutation() {
    for (int size = 1; size <= 600; size++) {
      BitSet seen = new BitSet(size);
      Permutation permutation = new Permutation(size, size * 31L);
      for (int i = 0; i < size; i++) {
        seen.set((int) permutation.at(i));
      }
      assertThat(seen.cardinality()).isEqualTo(size);
    }
  }

  @Property(tries = 100)
  void epochsAndSeedsDiffer(
      @ForAll @IntRange(min = 30, max = 5000) int windows,
      @ForAll long seed,
      @ForAll @IntRange(min = 0, max = 1000) int epoch) {
    SampleOrder order = new SampleOrder(windows, seed);

    assertThat(windows(order, (long) epoch * windows, windows))
        .isNotEqualTo(windows(order, (epoch + 1L) * windows, windows))
        .isNotEqualTo(windows(new SampleOrder(windows, seed + 1), (long) epoch * windows, windows));
  }

  @Property(tries = 200)
  void anyNumberOfRanksTakesEachSampleOfTheGlobalOrderOnce(
      @ForAll @IntRange(min = 1, max = 8) int ranks,
      @ForAll @IntRange(min = 1, max = 4) int microBatch,
      @ForAll @IntRange(min = 0, max = 40) int samplesMoreThanRanks,
      @ForAll @LongRange(min = 0, max = 1L << 40) long firstStep) {
    long globalBatch = (long) ranks + samplesMoreThanRanks;
    long largestShare = (globalBatch + ranks - 1) / ranks;
    long microBatches = (largestShare + microBatch - 1) / microBatch;
    List<Long> taken = new ArrayList<>();
    for (long step = firstStep; step < firstStep + 2; step++) {
      for (int rank = 0; rank < ranks; rank++) {
        BatchPartition partition = new BatchPartition(globalBatch, ranks, rank, microBatch);
        assertThat(partition.microBatches()).isEqualTo(microBatches);
        assertThat(partition.samplesPerRank()).isBetween(largestShare - 1, largestShare);
        for (int m = 0; m < partition.microBatches(); m++) {
          long first = partition.firstSample(step, m);
          assertThat(partition.samples(m)).isBetween(0, microBatch);
          LongStream.range(first, first + partition.samples(m)).forEach(taken::add);
        }
      }
    }

    assertThat(taken)
        .containsExactlyElementsOf(
            LongStream.range(firstStep * globalBatch, (firstStep + 2) * globalBatch)
                .boxed()
                .toList());
  }

  @Example
  void theFirstRanksTakeASampleMoreAndTheLastMicroBatchMayBeEmpty() {
    BatchPartition first = new BatchPartition(8, 3, 0, 2);
    BatchPartition last = new BatchPartition(8, 3, 2, 2);
    assertThat(List.of(first.samplesPerRank(), last.samplesPerRank())).containsExactly(3L, 2L);
    assertThat(List.of(first.samples(0), first.samples(1))).containsExactly(2, 1);
    assertThat(List.of(last.samples(0), last.samples(1))).containsExactly(2, 0);
    assertThat(last.firstSample(1, 0)).isEqualTo(14);
    assertThat(last.firstSample(1, 1)).as("stands in").isEqualTo(15);
  }

  @Property(tries = 100)
  void anEpochIsCoveredOnceWhateverTheRanksAndWhereverItWasResumed(
      @ForAll @IntRange(min = 1, max = 200) int steps,
      @ForAll @IntRange(min = 1, max = 6) int ranks,
      @ForAll @IntRange(min = 1, max = 6) int ranksAfter,
      @ForAll @IntRange(min = 0, max = 199) int resumedAt,
      @ForAll long seed) {
    int batch = 59;
    SampleOrder order = new SampleOrder((long) steps * batch, seed);
    BitSet seen = new BitSet();

    for (long step = 0; step < steps; step++) {
      int ranksNow = step < resumedAt ? ranks : ranksAfter;
      for (int rank = 0; rank < ranksNow; rank++) {
        BatchPartition partition = new BatchPartition(batch, ranksNow, rank, batch);
        long first = partition.firstSample(step, 0);
        for (long k = first; k < first + partition.samplesPerRank(); k++) {
          seen.set((int) order.window(k));
        }
      }
    }

    assertThat(seen.cardinality()).isEqualTo(steps * batch);
  }

  @Example
  void everyWindowIsAsLikelyAtEveryPlace() {
    int windows = 10;
    int epochs = 20_000;
    long[][] counts = new long[windows][windows];
    SampleOrder order = new SampleOrder(windows, 7);
    for (long k = 0; k < (long) epochs * windows; k++) {
      counts[(int) (k % windows)][(int) order.window(k)]++;
    }

    double expected = (double) epochs / windows;
    for (long[] place : counts) {
      double chiSquare = 0;
      for (long count : place) {
        chiSquare += (count - expected) * (count - expected) / expected;
      }
      assertThat(chiSquare).as("9 degrees of freedom").isLessThan(33.7); // 1 in 10,000
    }
  }

  @Example
  void aHugeOrderStaysInRange() {
    SampleOrder order = new SampleOrder((1L << 61) + 12345, 99);

    for (long k : new long[] {0, 1, 1L << 40, (1L << 61) + 12344, Long.MAX_VALUE}) {
      assertThat(order.window(k)).isBetween(0L, (1L << 61) + 12344);
    }
  }

  @Example
  void badSizesAreRefused() {
    assertThatThrownBy(() -> new SampleOrder(0, 1)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new SampleOrder(5, 1).window(-1))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> new BatchPartition(3, 4, 0, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("3")
        .hasMessageContaining("4");
  }

  private static List<Long> windows(SampleOrder order, long first, int count) {
    return LongStream.range(first, first + count).map(order::window).boxed().toList();
  }
}
