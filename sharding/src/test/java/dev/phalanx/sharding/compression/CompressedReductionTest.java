package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What holds for every codec. */
@Timeout(300)
final class CompressedReductionTest {
  private static final int MOST_RANKS = 4;
  private static final int STEPS = 5;

  /** One, few, primes, and about words of signs, words of a map and blocks. */
  private static final int[] SIZES = {1, 2, 7, 15, 17, 31, 32, 33, 127, 1023, 1024, 1025, 4099};

  static Stream<Compression> codecs() {
    return Stream.concat(
        codecsWithErrorFeedback(),
        Stream.of(
            new Compression.Float16(),
            new Compression.Bfloat16(),
            new Compression.TopK(0.05, 3, 0.9),
            new Compression.OneBit(2, 0.9)));
  }

  static Stream<Compression> codecsWithErrorFeedback() {
    return Stream.of(
        new Compression.Int8(32),
        new Compression.Int8(1024),
        new Compression.TopK(0.05),
        new Compression.TopK(1),
        new Compression.TopK(0.01, 4, 0),
        new Compression.Threshold(0.1), // maps
        new Compression.Threshold(2.5), // lists
        new Compression.Threshold(0.1, 0.1, 0.3),
        new Compression.Threshold(2.5, 1e-4, 1e-2),
        new Compression.OneBit(0),
        new Compression.OneBit(2),
        new Compression.PowerSgd(1, 0),
        new Compression.PowerSgd(3, 2));
  }

  /** What a rank got in each step, and its residuals after the last one. */
  private record Outcome(List<float[]> sums, float[] residual, float[] partResidual) {}

  private static Outcome train(Rank rank, Compression compression, int size)
      throws InterruptedException {
    CompressedReduction reduction =
        compression.reduction(rank.arena(), rank.communicator(), Gradients.shapes(size));
    List<float[]> sums = new ArrayList<>();
    for (int step = 1; step <= STEPS; step++) {
      sums.add(rank.reduce(reduction, step, Gradients.normal(size, rank.number(), step)));
    }
    return new Outcome(sums, stateOf(reduction, "residual"), stateOf(reduction, "part_residual"));
  }

  private static float[] stateOf(CompressedReduction reduction, String name) {
    Tensor tensor = reduction.state().get(name);
    return tensor == null ? new float[0] : Rank.read(tensor);
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void allRanksGetTheSameBits(Compression compression) throws Exception {
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
      List<List<Outcome>> outcomes = trainAllSizes(compression, ranks);
      for (List<Outcome> ofRank : outcomes) {
        for (int i = 0; i < SIZES.length; i++) {
          for (int step = 0; step < STEPS; step++) {
            assertThat(ofRank.get(i).sums().get(step))
                .as("%d elements, %d ranks, step %d", SIZES[i], ranks, step + 1)
                .isEqualTo(outcomes.get(0).get(i).sums().get(step));
          }
        }
      }
    }
  }

  private static List<List<Outcome>> trainAllSizes(Compression compression, int ranks)
      throws Exception {
    return Rank.runAll(
        ranks,
        rank -> {
          List<Outcome> outcomes = new ArrayList<>();
          for (int size : SIZES) {
            outcomes.add(train(rank, compression, size));
          }
          return outcomes;
        });
  }

  @ParameterizedTest
  @MethodSource("codecsWithErrorFeedback")
  void whatWasAppliedAndTheResidualsAreTheSumOfAllGradients(Compression compression)
      throws Exception {
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
      List<List<Outcome>> outcomes = trainAllSizes(compression, ranks);
      for (int i = 0; i < SIZES.length; i++) {
        int size = SIZES[i];
        double[] found = new double[size];
        double[] expected = new double[size];
        for (float[] sum : outcomes.get(0).get(i).sums()) {
          add(sum, found, 0);
        }
        int part = (size + ranks - 1) / ranks;
        for (int rank = 0; rank < ranks; rank++) {
          Outcome outcome = outcomes.get(rank).get(i);
          add(outcome.residual(), found, 0);
          add(outcome.partResidual(), found, Math.min(size, rank * part));
          for (int step = 1; step <= STEPS; step++) {
            add(Gradients.normal(size, rank, step), expected, 0);
          }
        }
        assertThat(found)
            .as("%d elements, %d ranks", size, ranks)
            .containsExactly(expected, within(2e-5));
      }
    }
  }

  /** What lies beyond the end of {@code into} is a part's padding, which nothing is written to. */
  private static void add(float[] values, double[] into, int offset) {
    for (int i = 0; i < values.length; i++) {
      if (offset + i < into.length) {
        into[offset + i] += values[i];
      } else {
        assertThat(values[i]).isZero();
      }
    }
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void theBytesThatAreCountedAreThoseThatTheCommunicatorSends(Compression compression)
      throws Exception {
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
      for (int size : SIZES) {
        List<long[]> sentAndCounted =
            Rank.runAll(
                ranks,
                Algorithm.RING,
                rank -> {
                  CompressedReduction reduction =
                      compression.reduction(
                          rank.arena(), rank.communicator(), Gradients.shapes(size));
                  for (int step = 1; step <= STEPS; step++) {
                    rank.reduce(reduction, step, Gradients.normal(size, rank.number(), step));
                  }
                  return new long[] {
                    rank.communicator().traffic().bytesSent(), reduction.statistics().sentBytes()
                  };
                });
        long mean = sentAndCounted.stream().mapToLong(counts -> counts[0]).sum() / ranks;
        assertThat(sentAndCounted)
            .as("%d elements, %d ranks", size, ranks)
            .allSatisfy(
                counts -> assertThat(counts[1]).isBetween(mean - 1, mean)); // rounded down, twice
      }
    }
  }

  /** Of 4096 = 64 x 64 elements and four ranks, with the formula of docs/compression.md. */
  static Stream<Arguments> bytesOfRank() {
    long uncompressed = 2 * 3 * 4096 * 4 / 4;
    return Stream.of(
        Arguments.of(new Compression.Float16(), uncompressed / 2),
        Arguments.of(new Compression.Bfloat16(), uncompressed / 2),
        Arguments.of(new Compression.Int8(256), 2 * 3 * (1024 + 4 * 4)),
        Arguments.of(new Compression.TopK(0.01), 3 * 8 * 41),
        Arguments.of(new Compression.Threshold(1e-6), 3 * (8 + 4096 / 4)),
        Arguments.of(new Compression.Threshold(1e6), 3 * 8),
        Arguments.of(new Compression.OneBit(1), uncompressed),
        Arguments.of(new Compression.OneBit(0), 2 * 3 * (4 + 1024 / 8)),
        Arguments.of(new Compression.PowerSgd(2, 1), uncompressed),
        Arguments.of(new Compression.PowerSgd(2, 0), 2 * 3 * 4 * 2 * (64 + 64) / 4));
  }

  @ParameterizedTest
  @MethodSource("bytesOfRank")
  void bytesFollowTheFormula(Compression compression, long expected) throws Exception {
    int ranks = 4;
    List<CompressionStatistics> all =
        Rank.runAll(
            ranks,
            rank -> {
              CompressedReduction reduction = rank.reduction(compression, 64, 64);
              rank.reduce(reduction, 1, Gradients.normal(4096, rank.number(), 1));
              return reduction.statistics();
            });
    for (CompressionStatistics statistics : all) {
      assertThat(statistics.sentBytes()).isEqualTo(expected);
      assertThat(statistics.uncompressedBytes()).isEqualTo(2 * 3 * 4096 * 4 / ranks);
      assertThat(statistics.ratio()).isEqualTo(2 * 3 * 4096 * 4.0 / ranks / expected);
      assertThat(statistics.codecNanos()).isPositive();
    }
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void aNewObjectWithTheStateGoesOnWithTheSameBits(Compression compression) throws Exception {
    int size = 1025;
    for (int ranks = 1; ranks <= 3; ranks++) {
      Rank.runAll(
          ranks,
          rank -> {
            CompressedReduction first =
                compression.reduction(rank.arena(), rank.communicator(), Gradients.shapes(size));
            for (int step = 1; step <= 3; step++) {
              rank.reduce(first, step, Gradients.normal(size, rank.number(), step));
            }
            CompressedReduction second =
                compression.reduction(rank.arena(), rank.communicator(), Gradients.shapes(size));
            copy(rank, first.state(), second.state());
            copy(rank, first.commonState(), second.commonState());
            for (int step = 4; step <= 6; step++) {
              float[] gradients = Gradients.normal(size, rank.number(), step);
              assertThat(rank.reduce(second, step, gradients))
                  .isEqualTo(rank.reduce(first, step, gradients));
            }
            return rank;
          });
    }
  }

  private static void copy(Rank rank, Map<String, Tensor> from, Map<String, Tensor> to) {
    assertThat(to.keySet()).isEqualTo(from.keySet());
    from.forEach(
        (name, tensor) ->
            rank.arena().engine().copy(tensor, Objects.requireNonNull(to.get(name), name)));
  }

  /** So that one rank's is enough for a checkpoint. */
  @ParameterizedTest
  @MethodSource("codecs")
  void whatIsCommonIsTheSameOnAllRanks(Compression compression) throws Exception {
    int size = 1025;
    List<List<float[]>> all =
        Rank.runAll(
            3,
            rank -> {
              CompressedReduction reduction =
                  compression.reduction(rank.arena(), rank.communicator(), Gradients.shapes(size));
              for (int step = 1; step <= 4; step++) {
                rank.reduce(reduction, step, Gradients.normal(size, rank.number(), step));
              }
              return reduction.commonState().values().stream().map(Rank::read).toList();
            });
    for (List<float[]> ofRank : all) {
      assertThat(ofRank).usingRecursiveComparison().isEqualTo(all.get(0));
    }
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void stepsOfSeveralBucketsOverlap(Compression compression) throws Exception {
    int[] sizes = {100, 1, 257};
    Rank.runAll(
        3,
        rank -> {
          Map<CompressedReduction, Tensor> buckets = new LinkedHashMap<>();
          for (int size : sizes) {
            Tensor gradients = rank.arena().allocate(DType.FLOAT32, size);
            buckets.put(
                compression.reduction(rank.arena(), rank.communicator(), Gradients.shapes(size)),
                gradients);
          }
          List<CompressedReduction> oneByOne = new ArrayList<>();
          for (int size : sizes) {
            oneByOne.add(
                compression.reduction(rank.arena(), rank.communicator(), Gradients.shapes(size)));
          }
          for (int step = 1; step <= STEPS; step++) {
            for (Map.Entry<CompressedReduction, Tensor> bucket : buckets.entrySet()) {
              int size = (int) bucket.getValue().elementCount();
              float[] gradients = Gradients.normal(size, rank.number(), step);
              new HostMemory(bucket.getValue()).write(0, gradients, size);
              bucket.getKey().start(bucket.getValue(), step);
            }
            for (CompressedReduction reduction : buckets.keySet()) {
              if (step % 2 == 1) { // else finish does it
                reduction.proceed();
                reduction.proceed(); // which changes nothing
              }
            }
            for (CompressedReduction reduction : buckets.keySet()) {
              reduction.finish();
            }
            int number = 0;
            for (Tensor sums : buckets.values()) {
              float[] gradients = Gradients.normal(sizes[number], rank.number(), step);
              assertThat(Rank.read(sums))
                  .isEqualTo(rank.reduce(oneByOne.get(number), step, gradients));
              number++;
            }
          }
          return rank;
        });
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void aStepTakesNoMemoryButForHandles(Compression compression) throws Exception {
    com.sun.management.ThreadMXBean threads =
        (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    int size = 300 * 300; // 360 kB
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction = rank.reduction(compression, 300, 300);
          try (Tensor gradients = rank.tensor(Gradients.normal(size, 0, 1))) {
            step(reduction, gradients, 1, 20);
            long reserved = rank.arena().bytesReserved();
            long before = threads.getThreadAllocatedBytes(Thread.currentThread().getId());
            step(reduction, gradients, 21, 40);
            long heap = threads.getThreadAllocatedBytes(Thread.currentThread().getId()) - before;
            assertThat(heap / 20).isLessThan(16 * 1024);
            assertThat(rank.arena().bytesReserved()).isEqualTo(reserved);
          }
          return rank;
        });
  }

  private static void step(CompressedReduction reduction, Tensor gradients, int from, int to)
      throws InterruptedException {
    for (int step = from; step <= to; step++) {
      reduction.start(gradients, step);
      reduction.finish();
    }
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void callsOutOfOrderAndOtherTensorsAreRefused(Compression compression) throws Exception {
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction = rank.reduction(compression, 4);
          Tensor gradients = rank.tensor(1, 2, 3, 4);
          assertThatThrownBy(reduction::proceed).isInstanceOf(IllegalStateException.class);
          assertThatThrownBy(reduction::finish).isInstanceOf(IllegalStateException.class);
          assertThatThrownBy(() -> reduction.start(rank.tensor(1, 2, 3), 1))
              .isInstanceOf(IllegalArgumentException.class)
              .hasMessageContaining("4 elements")
              .hasMessageContaining("[3]");
          assertThatThrownBy(
                  () -> reduction.start(rank.arena().allocate(DType.BFLOAT16, Shape.of(4)), 1))
              .isInstanceOf(IllegalArgumentException.class)
              .hasMessageContaining("FLOAT32");
          reduction.start(gradients, 1);
          assertThatThrownBy(() -> reduction.start(gradients, 2))
              .isInstanceOf(IllegalStateException.class)
              .hasMessageContaining("Step 2");
          reduction.finish();
          return rank;
        });
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void memoryOfDevicesIsRefused(Compression compression) throws Exception {
    Rank.runAll(
        1,
        rank -> {
          try (Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
              Arena device = new Arena(engine, new Device(Device.Kind.CUDA, 0))) {
            assertThatThrownBy(
                    () -> compression.reduction(device, rank.communicator(), List.of(Shape.of(4))))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("cuda:0");
          }
          return rank;
        });
  }

  @Test
  void statisticsOfBucketsAddUp() {
    CompressionStatistics sum =
        new CompressionStatistics(100, 20, 7, 3).plus(new CompressionStatistics(50, 10, 1, 4));

    assertThat(sum).isEqualTo(new CompressionStatistics(150, 30, 8, 5));
    assertThat(sum.ratio()).isEqualTo(5);
    assertThat(new CompressionStatistics(0, 0, 9, 0).ratio()).isEqualTo(1);
  }

  static Stream<Arguments> knownErrors() {
    float[] identity = new float[25];
    for (int i = 0; i < 5; i++) {
      identity[6 * i] = 1;
    }
    return Stream.of(
        // The second ones are half-way between 1 and its neighbour, and go to 1, which is even.
        Arguments.of(
            new Compression.Bfloat16(), new float[] {1 + 0x3p-10f, 1 + 0x4p-10f, 1}, 0x5p-10),
        Arguments.of(
            new Compression.Float16(), new float[] {1 + 0x3p-13f, 1 + 0x4p-13f, 1}, 0x5p-13),
        // A scale of 1, by which the second encoding has nothing to round.
        Arguments.of(new Compression.Int8(3), new float[] {127, 3.3f, 4.4f}, 0.5),
        Arguments.of(new Compression.TopK(0.25), new float[] {3, -10, 0, 4}, 5),
        Arguments.of(new Compression.Threshold(0.5), new float[] {3.5f, -4.5f, 0}, 5),
        Arguments.of(new Compression.OneBit(0), new float[] {3, -1}, Math.sqrt(2)),
        // All directions but one.
        Arguments.of(new Compression.PowerSgd(1, 0), identity, 2),
        Arguments.of(new Compression.OneBit(1), new float[] {3, -1}, 0),
        Arguments.of(new Compression.PowerSgd(1, 1), identity, 0));
  }

  @ParameterizedTest
  @MethodSource("knownErrors")
  void theErrorNormIsThatOfWhatIsLeftOut(
      Compression compression, float[] gradients, double expected) throws Exception {
    long[] shape = gradients.length == 25 ? new long[] {5, 5} : new long[] {gradients.length};
    Rank.runAll(
        1,
        rank -> {
          CompressedReduction reduction = rank.reduction(compression, shape);
          rank.reduce(reduction, 1, gradients);
          assertThat(reduction.statistics().errorNorm()).isCloseTo(expected, within(1e-5));
          if (!compression.hasErrorFeedback()) { // nothing is left of the last step's
            rank.reduce(reduction, 2, new float[gradients.length]);
            assertThat(reduction.statistics().errorNorm()).isZero();
          }
          return rank;
        });
  }

  /** A cast divides by the ranks first, which says nothing of the error in what is sent. */
  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4})
  void theErrorNormOfACastIsOfTheGradientsThemselves(int ranks) throws Exception {
    Rank.runAll(
        ranks,
        rank -> {
          CompressedReduction reduction = rank.reduction(new Compression.Float16(), 2);
          rank.reduce(reduction, 1, 1 + 0x3p-13f, 1 + 0x4p-13f);
          assertThat(reduction.statistics().errorNorm()).isEqualTo(0x5p-13);
          return rank;
        });
  }

  @Test
  void settingsThatMakeNoSenseAreRefused() {
    assertThatThrownBy(() -> new Compression.Int8(0)).hasMessageContaining("not 0");
    assertThatThrownBy(() -> new Compression.TopK(0)).hasMessageContaining("not 0.0");
    assertThatThrownBy(() -> new Compression.TopK(1.5)).hasMessageContaining("not 1.5");
    assertThatThrownBy(() -> new Compression.TopK(0.1, -1, 0)).hasMessageContaining("not -1");
    assertThatThrownBy(() -> new Compression.TopK(0.1, 0, 1)).hasMessageContaining("not 1.0");
    assertThatThrownBy(() -> new Compression.Threshold(0)).hasMessageContaining("not 0.0");
    assertThatThrownBy(() -> new Compression.Threshold(1e-60)).hasMessageContaining("1.0E-60");
    assertThatThrownBy(() -> new Compression.Threshold(1, 0, 0.1)).hasMessageContaining("not 0.0");
    assertThatThrownBy(() -> new Compression.Threshold(1, 0.1, 0)).hasMessageContaining("not 0.0");
    assertThatThrownBy(() -> new Compression.Threshold(1, 0.2, 0.1))
        .hasMessage(
            "The largest density of an adaptive threshold is at least the smallest, 0.2, and below"
                + " 1, not 0.1");
    assertThatThrownBy(() -> new Compression.Threshold(1, 0.2, 1)).hasMessageContaining("not 1.0");
    assertThatThrownBy(() -> new Compression.Threshold(1, -0.1, 0.1)).hasMessageContaining("-0.1");
    assertThatThrownBy(() -> new Compression.Threshold(1, Double.NaN, 0.1))
        .hasMessageContaining("NaN");
    assertThatThrownBy(() -> new Compression.OneBit(-1)).hasMessageContaining("not -1");
    assertThatThrownBy(() -> new Compression.PowerSgd(0, 1)).hasMessageContaining("not 0");
    assertThatThrownBy(() -> new Compression.PowerSgd(1, -1)).hasMessageContaining("not -1");
  }

  @Test
  void aWarmUpIsNotCompressed() throws Exception {
    assertThat(new Compression.OneBit(2).isCompressedAt(2)).isFalse();
    assertThat(new Compression.OneBit(2).isCompressedAt(3)).isTrue();
    assertThat(new Compression.Int8(1).isCompressedAt(1)).isTrue();
    for (Compression compression :
        List.of(new Compression.OneBit(2), new Compression.PowerSgd(1, 2))) {
      Rank.runAll(
          2,
          rank -> {
            CompressedReduction reduction = rank.reduction(compression, 5, 5);
            float[] sum = Gradients.normal(25, 0, 1);
            float[] other = Gradients.normal(25, 1, 1);
            for (int i = 0; i < sum.length; i++) {
              sum[i] += other[i];
            }
            float[] own = Gradients.normal(25, rank.number(), 1);
            assertThat(rank.reduce(reduction, 1, own)).isEqualTo(sum);
            assertThat(rank.reduce(reduction, 2, own)).isEqualTo(sum);
            assertThat(rank.reduce(reduction, 3, own)).isNotEqualTo(sum);
            return rank;
          });
    }
  }
}
