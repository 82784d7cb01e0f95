package dev.phalanx.collectives;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.TestGroup.Network;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.GenerationMode;
import net.jqwik.api.Property;
import net.jqwik.api.ShrinkingMode;
import net.jqwik.api.Tag;
import net.jqwik.api.constraints.IntRange;

/**
 * Every operation with every algorithm over every transport against a plain reference: a small
 * sweep of all that there is, and a random sample of the large product of sizes, types and
 * reductions.
 */
final class OperationsPropertyTest {
  private static final Duration LONG = Duration.ofSeconds(15);

  /** With an odd number, a power of two and one past it. */
  private static final int FEW_RANKS = 5;

  private static final int MOST_RANKS = 9;

  /** Networks that carry one message as any other, and know neither hosts nor shared memory. */
  private static final Set<Network> SOCKETS =
      EnumSet.of(Network.TCP, Network.TCP_STREAMS, Network.GRPC, Network.GRPC_WITH_TLS);

  private static final Set<Integer> SIZES_OVER_SOCKETS = Set.of(1, 2, 3, 5);

  /** What a rank's tensors of one trial may take: nine ranks and the memory of a small machine. */
  private static final int MOST_BYTES = 9 << 17;

  /** Whether tensors lie in memory of their rank, or in what the ranks of a host have in common. */
  private enum Place {
    OWN,
    SHARED
  }

  private static Set<Place> places(Network network) {
    return network == Network.SHARED_MEMORY ? EnumSet.allOf(Place.class) : EnumSet.of(Place.OWN);
  }

  private static TestGroup group(Network network, Place place, Algorithm algorithm, int size)
      throws Exception {
    TestGroup group = new TestGroup(network, size, new GroupOptions(algorithm, LONG, 1));
    return place == Place.SHARED ? group.share() : group;
  }

  private static void run(
      Network network,
      Place place,
      Algorithm algorithm,
      int size,
      List<OperationTrial> trials,
      boolean inFlight)
      throws Exception {
    try (TestGroup group = group(network, place, algorithm, size)) {
      run(group, trials, inFlight);
    } catch (Exception e) {
      throw new AssertionError(
          algorithm + " over " + network + " with " + size + " ranks: " + trials, e);
    }
  }

  private static void run(TestGroup group, List<OperationTrial> trials, boolean inFlight)
      throws Exception {
    group.run(
        communicator -> {
          List<OperationTrial.Started> all = new ArrayList<>();
          for (OperationTrial trial : trials) {
            OperationTrial.Started started =
                trial.start(communicator, group.memory(communicator.rank()));
            all.add(started);
            if (!inFlight) {
              started.work().await();
            }
          }
          for (OperationTrial.Started started : all) {
            started.work().await();
            started.check().run(); // after all calls, so that ranks run ahead of each other
          }
          return true;
        });
  }

  /**
   * All operations by all algorithms over all transports; types and reductions take turns. What a
   * socket carries is the same to every algorithm, and a few sizes show it.
   */
  @Property(tries = MOST_RANKS, generation = GenerationMode.EXHAUSTIVE)
  void everyOperationIsRightWithEveryAlgorithmOverEveryTransport(
      @ForAll @IntRange(min = 1, max = FEW_RANKS) int size) throws Exception {
    everyOperationIsRight(size);
  }

  @Tag("long")
  @Property(tries = MOST_RANKS, generation = GenerationMode.EXHAUSTIVE)
  void everyOperationIsRightBetweenManyRanks(
      @ForAll @IntRange(min = FEW_RANKS + 1, max = MOST_RANKS) int size) throws Exception {
    everyOperationIsRight(size);
  }

  private static void everyOperationIsRight(int size) throws Exception {
    int[] counts = {0, 1, 37, 1009};
    int turn = size;
    for (Network network : Network.values()) {
      if (SOCKETS.contains(network) && !SIZES_OVER_SOCKETS.contains(size)) {
        continue;
      }
      for (Algorithm algorithm : Algorithm.values()) {
        List<OperationTrial> trials = new ArrayList<>();
        for (OperationTrial.Kind kind : OperationTrial.Kind.values()) {
          for (int count : counts) {
            turn++;
            trials.add(
                new OperationTrial(
                    kind,
                    DType.values()[turn % DType.values().length],
                    ReduceOperation.values()[turn / 3 % ReduceOperation.values().length],
                    count,
                    turn,
                    trials.size()));
          }
        }
        for (Place place : places(network)) {
          run(network, place, algorithm, size, trials, turn % 2 == 0);
        }
      }
    }
  }

  /** Sequences of operations, with counts around the borders of pieces and of ranks' parts. */
  @Property(tries = 60, seed = "20240229", shrinking = ShrinkingMode.OFF)
  void sequencesOfOperationsAreRight(
      @ForAll Network network,
      @ForAll Algorithm algorithm,
      @ForAll @IntRange(min = 1, max = MOST_RANKS) int size,
      @ForAll long seed)
      throws Exception {
    Random random = new Random(seed);
    List<OperationTrial> trials = new ArrayList<>();
    Place place = one(random, places(network).toArray(new Place[0]));
    try (TestGroup group = group(network, place, algorithm, size)) {
      for (int i = 0; i < 5; i++) {
        OperationTrial.Kind kind = one(random, OperationTrial.Kind.values());
        DType dtype = one(random, DType.values());
        int most = MOST_BYTES / dtype.byteSize() / Math.max(1, kind.tensorsPerRank(size));
        trials.add(
            new OperationTrial(
                kind,
                dtype,
                one(random, ReduceOperation.values()),
                Math.min(most, count(random, group.pieceBytes() / dtype.byteSize(), size)),
                random.nextInt(size),
                random.nextInt(1000)));
      }
      run(group, trials, random.nextBoolean());
    } catch (Exception e) {
      throw new AssertionError("trials: " + trials, e);
    }
  }

  private static <T> T one(Random random, T[] values) {
    return values[random.nextInt(values.length)];
  }

  /**
   * @param piece elements of a piece
   */
  private static int count(Random random, int piece, int size) {
    return switch (random.nextInt(9)) {
      case 0 -> 0;
      case 1 -> 1;
      case 2 -> random.nextInt(2 * size + 1);
      case 3 -> 10_007; // a prime
      case 4 -> piece - 1;
      case 5 -> piece + 1;
      case 6 -> piece * size - 1; // one short of a piece for each rank
      case 7 -> piece * size + 1;
      default -> 3 * piece + random.nextInt(piece);
    };
  }

  /** Sums of floating-point numbers depend on their order, which must not differ between ranks. */
  @Property(tries = 60, seed = "42", shrinking = ShrinkingMode.OFF)
  void allRanksHaveTheSameBitsAfterAnAllReduce(
      @ForAll Network network,
      @ForAll Algorithm algorithm,
      @ForAll @IntRange(min = 2, max = MOST_RANKS) int size,
      @ForAll DType dtype,
      @ForAll ReduceOperation reduction,
      @ForAll @IntRange(min = 1, max = 90_000) int count,
      @ForAll long seed)
      throws Exception {
    Place place = one(new Random(seed), places(network).toArray(new Place[0]));
    try (TestGroup group = group(network, place, algorithm, size)) {
      List<byte[]> bits =
          group.run(
              communicator -> {
                Random random = new Random(seed + communicator.rank());
                Tensor tensor =
                    HostTensors.of(
                        group.memory(communicator.rank()),
                        dtype,
                        count,
                        i -> random.nextGaussian() * (1 << random.nextInt(8)));
                communicator.allReduce(tensor, reduction).await();
                ByteBuffer bytes = HostTensors.bytes(tensor);
                byte[] copy = new byte[bytes.remaining()];
                bytes.get(copy);
                return copy;
              });
      for (byte[] other : bits) {
        assertThat(Arrays.mismatch(bits.get(0), other)).as("first byte that differs").isNegative();
      }
    }
  }

  /** Parts of several steps, the last one short, in memory that the ranks read from each other. */
  @Example
  void longTensorsInSharedMemoryAreRight() throws Exception {
    int step = 1 << 20;
    for (OperationTrial.Kind kind :
        List.of(
            OperationTrial.Kind.ALL_REDUCE,
            OperationTrial.Kind.REDUCE_SCATTER,
            OperationTrial.Kind.REDUCE_SCATTER_IN_PLACE,
            OperationTrial.Kind.ALL_GATHER,
            OperationTrial.Kind.ALL_GATHER_IN_PLACE,
            OperationTrial.Kind.ALL_GATHER_UNEQUAL)) {
      for (ReduceOperation reduction : ReduceOperation.values()) {
        boolean isWhole = kind == OperationTrial.Kind.ALL_REDUCE;
        OperationTrial trial =
            new OperationTrial(
                kind,
                DType.BFLOAT16,
                reduction,
                isWhole ? 3 * step + 12_345 : step / 2 + 4_567, // bfloat16: two bytes each
                0,
                1); // parts of an unequal gather: all, one, half
        try (TestGroup group = group(Network.SHARED_MEMORY, Place.SHARED, Algorithm.AUTO, 3)) {
          run(group, List.of(trial), false);
          for (int rank = 0; rank < 3; rank++) { // where they lie, and a signal for each step
            assertThat(group.communicator(rank).traffic().bytesSent())
                .as("%s", trial)
                .isBetween(1L, 4096L);
          }
        }
      }
    }
  }

  /** Each rank sends so much that no buffer holds it, before anybody has received anything. */
  @Example
  void exchangesOfLargeTensorsAroundARingDoNotLockUp() throws Exception {
    for (Network network : Network.values()) {
      for (int size : new int[] {2, 3}) {
        OperationTrial large =
            new OperationTrial(
                OperationTrial.Kind.EXCHANGE, DType.FLOAT64, ReduceOperation.SUM, 600_007, 0, size);
        run(network, Place.OWN, Algorithm.AUTO, size, List.of(large), false);
      }
    }
  }
}
