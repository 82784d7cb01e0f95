package dev.phalanx.collectives;

import static dev.phalanx.collectives.TestGroup.failureOf;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.TestGroup.Network;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Sample;
import dev.phalanx.tensor.Tensor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

@Timeout(60)
final class CommunicatorTest {
  private static final Duration LONG = Duration.ofSeconds(15);

  /**
   * Several pieces in a chunk, pieces that end within an element's chunk, fewer elements than
   * ranks.
   */
  private static final int[] COUNTS = {0, 1, 3, 7, 1000, 200_003, 900_001};

  static Stream<Arguments> groups() {
    return Stream.of(Network.values())
        .flatMap(network -> Stream.of(1, 2, 3, 5).map(size -> Arguments.of(network, size)));
  }

  /** Small whole numbers: exact in every type, so any order of summation gives the same bits. */
  private static double value(int rank, int index) {
    return (index * 7 + rank * 3) % 11 - 5;
  }

  @Sample(3)
  @ParameterizedTest
  @MethodSource("groups")
  void allReduceCombinesTheValuesOfAllRanks(Network network, int size) throws Exception {
    try (TestGroup group = new TestGroup(network, size, LONG)) {
      for (DType dtype :
          List.of(DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16, DType.INT32, DType.INT64)) {
        for (ReduceOperation operation : ReduceOperation.values()) {
          for (int count : dtype == DType.FLOAT32 ? COUNTS : new int[] {9, 5000}) {
            List<double[]> results =
                group.run(
                    communicator -> {
                      Tensor tensor =
                          HostTensors.of(dtype, count, i -> value(communicator.rank(), i));
                      communicator.allReduce(tensor, operation).await();
                      return HostTensors.values(tensor);
                    });
            for (double[] result : results) {
              assertThat(result).isEqualTo(results.get(0)); // the same bits on every rank
              for (int i = 0; i < count; i += Math.max(1, count / 100)) {
                assertThat(result[i])
                    .as("%s %s of %d, element %d", operation, dtype, count, i)
                    .isCloseTo(
                        expected(operation, dtype, size, i),
                        org.assertj.core.data.Offset.offset(dtype == DType.BFLOAT16 ? 0.02 : 1e-6));
              }
            }
          }
        }
      }
    }
  }

  private static double expected(ReduceOperation operation, DType dtype, int size, int index) {
    double[] values = new double[size];
    Arrays.setAll(values, rank -> value(rank, index));
    double sum = Arrays.stream(values).sum();
    return switch (operation) {
      case SUM -> sum;
      case AVERAGE -> dtype.isFloatingPoint() ? sum / size : (double) ((long) sum / size);
      case MINIMUM -> Arrays.stream(values).min().orElseThrow();
      case MAXIMUM -> Arrays.stream(values).max().orElseThrow();
    };
  }

  @ParameterizedTest
  @MethodSource("groups")
  void reduceScatterLeavesEachRankItsPartOfTheSum(Network network, int size) throws Exception {
    try (TestGroup group = new TestGroup(network, size, LONG)) {
      for (int part : new int[] {0, 1, 70_001}) {
        List<double[]> parts =
            group.run(
                communicator -> {
                  Tensor input =
                      HostTensors.of(
                          DType.FLOAT32, part * size, i -> value(communicator.rank(), i));
                  Tensor output = HostTensors.of(DType.FLOAT32, part, i -> -1);
                  communicator.reduceScatter(input, output, ReduceOperation.SUM).await();
                  return HostTensors.values(output);
                });
        for (int rank = 0; rank < size; rank++) {
          for (int i = 0; i < part; i += 97) {
            assertThat(parts.get(rank)[i])
                .isEqualTo(expected(ReduceOperation.SUM, DType.FLOAT32, size, rank * part + i));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("groups")
  void allGatherGivesEveryRankAllPartsInOrder(Network network, int size) throws Exception {
    try (TestGroup group = new TestGroup(network, size, LONG)) {
      for (int part : new int[] {0, 1, 70_001}) {
        List<double[]> all =
            group.run(
                communicator -> {
                  Tensor input =
                      HostTensors.of(DType.FLOAT32, part, i -> value(communicator.rank(), i));
                  Tensor output = HostTensors.of(DType.FLOAT32, part * size, i -> -1);
                  communicator.allGather(input, output).await();
                  return HostTensors.values(output);
                });
        double[] expected = new double[part * size];
        Arrays.setAll(expected, i -> value(i / part, i % part));
        assertThat(all).allSatisfy(values -> assertThat(values).isEqualTo(expected));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("groups")
  void broadcastGivesEveryRankTheRootsValues(Network network, int size) throws Exception {
    try (TestGroup group = new TestGroup(network, size, LONG)) {
      for (int root = 0; root < size; root++) {
        int from = root;
        List<double[]> all =
            group.run(
                communicator -> {
                  Tensor tensor =
                      HostTensors.of(DType.INT64, 50_001, i -> value(communicator.rank(), i));
                  communicator.broadcast(tensor, from).await();
                  return HostTensors.values(tensor);
                });
        double[] expected = new double[50_001];
        Arrays.setAll(expected, i -> value(from, i));
        assertThat(all).allSatisfy(values -> assertThat(values).isEqualTo(expected));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("groups")
  void noRankLeavesABarrierBeforeTheLastHasCome(Network network, int size) throws Exception {
    try (TestGroup group = new TestGroup(network, size, LONG)) {
      CountDownLatch come = new CountDownLatch(size);
      List<Long> missing =
          group.run(
              communicator -> {
                come.countDown();
                communicator.barrier().await();
                return come.getCount();
              });
      assertThat(missing).containsOnly(0L);
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void manyOperationsInFlightKeepTheirOrder(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 3, LONG)) {
      List<List<Double>> results =
          group.run(
              communicator -> {
                List<Tensor> tensors = new ArrayList<>();
                List<Work> works = new ArrayList<>();
                for (int i = 0; i < 200; i++) {
                  int number = i;
                  Tensor tensor = HostTensors.of(DType.FLOAT64, 10 + i, any -> number);
                  tensors.add(tensor);
                  works.add(communicator.allReduce(tensor, ReduceOperation.SUM));
                }
                List<Double> firsts = new ArrayList<>();
                for (int i = 0; i < works.size(); i++) {
                  works.get(i).await();
                  firsts.add(HostTensors.values(tensors.get(i))[0]);
                }
                return firsts;
              });
      for (List<Double> firsts : results) {
        for (int i = 0; i < firsts.size(); i++) {
          assertThat(firsts.get(i)).isEqualTo(3.0 * i);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void aRingAllReduceSendsTheLeastBytesPossible(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 4, LONG)) {
      List<Traffic> traffic =
          group.run(
              communicator -> {
                Tensor tensor = HostTensors.of(DType.FLOAT32, 400_000, i -> i);
                communicator.allReduce(tensor, ReduceOperation.SUM).await();
                return communicator.traffic();
              });
      assertThat(traffic)
          .allSatisfy(sent -> assertThat(sent.bytesSent()).isEqualTo(2L * 3 * 400_000));
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void ranksThatCallDifferentOperationsLearnWhoCalledWhat(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator -> {
                Tensor tensor = HostTensors.of(DType.FLOAT32, 10 + communicator.rank(), i -> i);
                return failureOf(communicator.allReduce(tensor, ReduceOperation.SUM));
              });
      assertThat(failures)
          .anySatisfy(
              failure ->
                  assertThat(failure)
                      .isInstanceOf(CollectiveMismatchException.class)
                      .hasMessageContaining("all_reduce #0 in group test")
                      .hasMessageContaining("SUM of 10 FLOAT32")
                      .hasMessageContaining("SUM of 11 FLOAT32"));
    }
  }

  /** Not an innocent one that waits as well. */
  @ParameterizedTest
  @EnumSource(Network.class)
  void aRankThatNeverComesIsNamedByAllWhenTheTimeIsOver(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 4, Duration.ofMillis(500))) {
      List<String> messages =
          group.run(
              communicator -> {
                Tensor tensor = HostTensors.of(DType.FLOAT32, 10_000, i -> i);
                communicator.allReduce(tensor, ReduceOperation.SUM).await();
                return communicator.rank() == 2
                    ? ""
                    : String.valueOf(
                        failureOf(communicator.allReduce(tensor, ReduceOperation.SUM))
                            .getMessage());
              });
      for (int rank : List.of(0, 1, 3)) {
        assertThat(messages.get(rank))
            .contains("rank 2 keeps the others waiting")
            .contains("nothing since it finished all_reduce #0 (SUM of 10000 FLOAT32)");
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void anAwaitsOwnDeadlineNamesTheRankAndEndsTheCommunicator(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      Communicator first = group.communicator(0);
      Work barrier = first.barrier();
      assertThatThrownBy(() -> barrier.await(Duration.ofMillis(200)))
          .isInstanceOf(CollectiveTimeoutException.class)
          .hasMessageContaining("not done within 200 ms")
          .hasMessageContaining("waits for rank 1");
      assertThatThrownBy(() -> first.barrier().await()).isInstanceOf(CollectiveException.class);
    }
  }

  /** Longer than clocks can count. */
  @ParameterizedTest
  @EnumSource(Network.class)
  void whoIsReadyToWaitForEverMay(Network network) throws Exception {
    for (Duration ever : List.of(Duration.ofDays(400 * 365), Duration.ofSeconds(Long.MAX_VALUE))) {
      try (TestGroup group = new TestGroup(network, 2, ever)) {
        List<double[]> sums =
            group.run(
                communicator -> {
                  Tensor tensor = HostTensors.of(DType.FLOAT32, 300_000, i -> 1);
                  communicator.allReduce(tensor, ReduceOperation.SUM).await(ever);
                  communicator.barrier().await();
                  return HostTensors.values(tensor);
                });
        assertThat(sums).allSatisfy(sum -> assertThat(sum).containsOnly(2));
      }
    }
  }

  @Test
  void aGroupWithoutTimeToWaitIsRefused() {
    for (Duration none :
        List.of(Duration.ZERO, Duration.ofMillis(-1), Duration.ofSeconds(Long.MIN_VALUE))) {
      assertThatThrownBy(() -> GroupOptions.withTimeout(none))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("give a timeout of more than 0");
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void whenARankIsGoneAllOthersHearItsName(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 3, LONG)) {
      group.communicator(1).close();
      List<String> messages =
          group.run(
              communicator ->
                  communicator.rank() == 1
                      ? "rank 1"
                      : String.valueOf(
                          failureOf(
                                  communicator.allReduce(
                                      HostTensors.of(DType.FLOAT32, 10, i -> i),
                                      ReduceOperation.SUM))
                              .getMessage()));
      assertThat(messages).allSatisfy(message -> assertThat(message).contains("rank 1"));
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void afterAFailureEveryFurtherCallFailsAtOnceWithTheSameCause(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      group.communicator(1).close();
      Communicator first = group.communicator(0);
      String failure = String.valueOf(failureOf(first.barrier()).getMessage());
      Work later = first.barrier();
      CountDownLatch heard = new CountDownLatch(1);
      later.whenDone(heard::countDown);
      assertThat(heard.await(10, TimeUnit.SECONDS)).isTrue();
      assertThat(failureOf(later)).hasMessage(failure);
    }
  }

  @Test
  void whatAnActionThrowsIsHeardAndHarmsNoOperation() throws Exception {
    CompletableFuture<Throwable> heard = new CompletableFuture<>();
    Thread.UncaughtExceptionHandler before = Thread.getDefaultUncaughtExceptionHandler();
    Thread.setDefaultUncaughtExceptionHandler((thread, thrown) -> heard.complete(thrown));
    try (TestGroup group = new TestGroup(Network.IN_PROCESS, 2, LONG)) {
      group.run(
          communicator -> {
            Work barrier = communicator.barrier();
            if (communicator.rank() == 0) {
              barrier.whenDone(
                  () -> {
                    throw new IllegalStateException("the action's own");
                  });
            }
            barrier.await();
            communicator.barrier().await();
            return true;
          });
      assertThat(heard.get(10, TimeUnit.SECONDS)).hasMessage("the action's own");
    } finally {
      Thread.setDefaultUncaughtExceptionHandler(before);
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void aTensorThatIsNotContiguousIsRefusedBeforeAnythingIsSent(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      Tensor matrix = HostTensors.of(DType.FLOAT32, 12, i -> i).reshape(3, 4);
      assertThatThrownBy(
              () -> group.communicator(0).allReduce(matrix.transpose(0, 1), ReduceOperation.SUM))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("contiguous");
      assertThat(group.communicator(0).traffic()).isEqualTo(new Traffic(0, 0));
    }
  }

  /** What a peer has sent would be overwritten before it is sent on. */
  @ParameterizedTest
  @EnumSource(Network.class)
  void anAllToAllWithinTheSameMemoryIsRefused(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      Communicator first = group.communicator(0);
      Tensor whole = HostTensors.of(DType.FLOAT32, 12, i -> i);
      assertThatThrownBy(() -> first.allToAll(whole, whole))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("needs other memory than the input");
      long[] counts = {3, 4};
      assertThatThrownBy(
              () -> first.allToAll(whole.slice(0, 0, 7), counts, whole.slice(0, 5, 7), counts))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("needs other memory than the input");
      List<double[]> received =
          group.run(
              communicator -> {
                Tensor both = HostTensors.of(DType.FLOAT32, 4, i -> i + 10 * communicator.rank());
                Tensor output = both.slice(0, 2, 2); // beside the input
                communicator.allToAll(both.slice(0, 0, 2), output).await();
                return HostTensors.values(output);
              });
      assertThat(received).containsExactly(new double[] {0, 10}, new double[] {1, 11});
    }
  }

  /** Whether it runs the operation itself or waits for another thread that does. */
  @ParameterizedTest
  @EnumSource
  void anInterruptedWaiterIsToldSo(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      CompletableFuture<Boolean> wasInterrupted = new CompletableFuture<>();
      CountDownLatch isWaiting = new CountDownLatch(1);
      Thread waiter =
          new Thread(
              () -> {
                try {
                  isWaiting.countDown();
                  group.communicator(0).barrier().await();
                  wasInterrupted.complete(false);
                } catch (InterruptedException e) {
                  wasInterrupted.complete(!Thread.currentThread().isInterrupted());
                } catch (RuntimeException e) {
                  wasInterrupted.completeExceptionally(e);
                }
              });
      waiter.start();
      isWaiting.await();
      waiter.interrupt();
      assertThat(wasInterrupted.get(15, TimeUnit.SECONDS)).isTrue();
    }
  }
}
