package dev.phalanx.collectives.transport.nccl;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Tensor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Everything above NCCL's calls, on a pretended NCCL. */
final class NcclCommunicatorTest {
  private static final Duration SHORT = Duration.ofSeconds(1);

  /** A rank's part of a test: what it ends with. */
  private interface Body {
    int[] run(NcclCommunicator communicator, PretendedDevices devices) throws Exception;
  }

  private static List<int[]> run(int size, Body body) throws Exception {
    PretendedDevices devices = new PretendedDevices(size);
    try (NcclGroup group = NcclGroup.pretended(devices, size, NcclGroup.PATIENCE)) {
      return group.run(communicator -> body.run(communicator, devices));
    }
  }

  private static void expect(List<int[]> found, IntFunction<int[]> expected) {
    for (int rank = 0; rank < found.size(); rank++) {
      assertThat(found.get(rank)).as("rank %d", rank).isEqualTo(expected.apply(rank));
    }
  }

  private static int[] ints(int... values) {
    return values;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 5})
  void allReduceGivesEveryRankTheResult(int size) throws Exception {
    List<int[]> found =
        run(
            size,
            (communicator, devices) -> {
              int rank = communicator.rank();
              List<Tensor> tensors = new ArrayList<>();
              Work last = communicator.barrier();
              for (ReduceOperation operation : ReduceOperation.values()) {
                Tensor tensor = devices.tensor(rank, 10 * (rank + 1));
                tensors.add(tensor);
                last = communicator.allReduce(tensor, operation);
              }
              last.await();
              return tensors.stream().mapToInt(tensor -> devices.values(tensor)[0]).toArray();
            });

    int sum = 10 * size * (size + 1) / 2;
    expect(found, rank -> ints(sum, sum / size, 10, 10 * size));
  }

  @Test
  void reduceChangesTheRootAlone() throws Exception {
    List<int[]> found =
        run(
            3,
            (communicator, devices) -> {
              Tensor tensor = devices.tensor(communicator.rank(), 1, communicator.rank());
              communicator.reduce(tensor, ReduceOperation.SUM, 2).await();
              return devices.values(tensor);
            });

    expect(found, rank -> rank == 2 ? ints(3, 3) : ints(1, rank));
  }

  @Test
  void reduceScatterMayWriteIntoItsInput() throws Exception {
    List<int[]> found =
        run(
            3,
            (communicator, devices) -> {
              int rank = communicator.rank();
              Tensor input = devices.tensor(rank, 1, 2, 3, 4, 5, 6);
              Tensor output = input.slice(0, 2L * rank, 2);
              communicator.reduceScatter(input, output, ReduceOperation.SUM).await();
              return devices.values(output);
            });

    expect(found, rank -> ints(3 * (2 * rank + 1), 3 * (2 * rank + 2)));
  }

  @Test
  void allGatherPutsPartsInTheOrderOfRanks() throws Exception {
    List<int[]> found =
        run(
            3,
            (communicator, devices) -> {
              int rank = communicator.rank();
              Tensor output = devices.tensor(rank, 0, 0, 0, 0, 0, 0);
              Tensor input = devices.tensor(rank, rank, -rank);
              communicator.allGather(input, output).await();
              return devices.values(output);
            });

    expect(found, rank -> ints(0, 0, 1, -1, 2, -2));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void allGatherTakesPartsOfDifferentLengthsAndOfNone(boolean isInPlace) throws Exception {
    List<int[]> found =
        run(
            3,
            (communicator, devices) -> {
              int rank = communicator.rank();
              long[] counts = {1, 0, 3};
              long[] offsets = {0, 1, 1};
              Tensor output = devices.tensor(rank, 8, 8, 8, 8);
              Tensor input = output.slice(0, offsets[rank], counts[rank]);
              if (!isInPlace) {
                input =
                    devices.tensor(rank, rank == 0 ? ints(5) : rank == 1 ? ints() : ints(1, 2, 3));
              }
              communicator.allGather(input, output, counts).await();
              return devices.values(output);
            });

    expect(found, rank -> isInPlace ? ints(8, 8, 8, 8) : ints(5, 1, 2, 3));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void gatherBringsAllPartsToTheRoot(boolean isInPlace) throws Exception {
    List<int[]> found =
        run(
            3,
            (communicator, devices) -> {
              int rank = communicator.rank();
              Tensor input = devices.tensor(rank, rank, 10 + rank);
              Tensor output = null;
              if (rank == 1) {
                output = devices.tensor(rank, 0, 0, 1, 11, 0, 0);
                input = isInPlace ? output.slice(0, 2, 2) : input;
              }
              communicator.gather(input, output, 1).await();
              return output == null ? ints() : devices.values(output);
            });

    expect(found, rank -> rank == 1 ? ints(0, 10, 1, 11, 2, 12) : ints());
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void scatterGivesEveryRankItsPart(boolean isInPlace) throws Exception {
    List<int[]> found =
        run(
            3,
            (communicator, devices) -> {
              int rank = communicator.rank();
              Tensor output = devices.tensor(rank, -1, -1);
              Tensor input = null;
              if (rank == 2) {
                input = devices.tensor(rank, 0, 1, 2, 3, 4, 5);
                output = isInPlace ? input.slice(0, 4, 2) : output;
              }
              communicator.scatter(input, output, 2).await();
              return devices.values(output);
            });

    expect(found, rank -> ints(2 * rank, 2 * rank + 1));
  }

  @Test
  void broadcastGivesEveryRankTheRootsValues() throws Exception {
    List<int[]> found =
        run(
            3,
            (communicator, devices) -> {
              Tensor tensor = devices.tensor(communicator.rank(), communicator.rank(), 7);
              communicator.broadcast(tensor, 1).await();
              return devices.values(tensor);
            });

    expect(found, rank -> ints(1, 7));
  }

  @Test
  void allToAllTransposesParts() throws Exception {
    List<int[]> found =
        run(
            3,
            (communicator, devices) -> {
              int rank = communicator.rank();
              Tensor input = devices.tensor(rank, 10 * rank, 10 * rank + 1, 10 * rank + 2);
              Tensor output = devices.tensor(rank, -1, -1, -1);
              communicator.allToAll(input, output).await();
              return devices.values(output);
            });

    expect(found, rank -> ints(rank, 10 + rank, 20 + rank));
  }

  /** Rank i has i + j elements for rank j. */
  @Test
  void allToAllTakesPartsOfDifferentLengthsAndOfNone() throws Exception {
    List<int[]> found =
        run(
            3,
            (communicator, devices) -> {
              int rank = communicator.rank();
              long[] counts = {rank, rank + 1, rank + 2};
              int[] values = new int[3 * rank + 3];
              for (int i = 0; i < values.length; i++) {
                values[i] = 100 * rank + i;
              }
              Tensor input = devices.tensor(rank, values);
              Tensor output = devices.tensor(rank, new int[values.length]);
              communicator.allToAll(input, counts, output, counts).await();
              return devices.values(output);
            });

    List<int[]> expected =
        List.of(
            ints(100, 200, 201),
            ints(0, 101, 102, 202, 203, 204),
            ints(1, 2, 103, 104, 105, 205, 206, 207, 208));
    expect(found, expected::get);
  }

  @Test
  void sendsMeetReceivesInTheOrderOfCalls() throws Exception {
    List<int[]> found =
        run(
            2,
            (communicator, devices) -> {
              Tensor first = devices.tensor(communicator.rank(), 1, 2);
              Tensor second = devices.tensor(communicator.rank(), 3, 4);
              if (communicator.rank() == 0) {
                communicator.send(second, 1, 0);
                communicator.send(first, 1, 0).await();
              } else {
                communicator.receive(first, 0, 0);
                communicator.receive(second, 0, 0).await();
              }
              return ints(devices.values(first)[0], devices.values(second)[1]);
            });

    expect(found, rank -> rank == 0 ? ints(1, 4) : ints(3, 2));
  }

  /** The peer names its transfers the other way round. */
  @Test
  void theTransfersOfAnExchangeMeetByTheirTags() throws Exception {
    List<int[]> found =
        run(
            2,
            (communicator, devices) -> {
              int rank = communicator.rank();
              int peer = 1 - rank;
              Tensor low = devices.tensor(rank, 10 * rank);
              Tensor high = devices.tensor(rank, 10 * rank + 1);
              Tensor gotLow = devices.tensor(rank, -1);
              Tensor gotHigh = devices.tensor(rank, -1);
              List<PointToPoint> transfers =
                  List.of(
                      new PointToPoint.Send(low, peer, 0),
                      new PointToPoint.Send(high, peer, 4),
                      new PointToPoint.Receive(gotHigh, peer, 4),
                      new PointToPoint.Receive(gotLow, peer, 0));
              List<PointToPoint> reversed = new ArrayList<>(transfers);
              Collections.reverse(reversed);
              communicator.exchange(rank == 0 ? transfers : reversed).await();
              return ints(devices.values(gotLow)[0], devices.values(gotHigh)[0]);
            });

    expect(found, rank -> ints(10 * (1 - rank), 10 * (1 - rank) + 1));
  }

  @Test
  void operationsWithoutElementsComplete() throws Exception {
    run(
        2,
        (communicator, devices) -> {
          Tensor empty = devices.tensor(communicator.rank());
          communicator.allReduce(empty, ReduceOperation.SUM);
          communicator.reduce(empty, ReduceOperation.SUM, 0);
          communicator.reduceScatter(empty, empty, ReduceOperation.SUM);
          communicator.allGather(empty, empty);
          communicator.allGather(empty, empty, new long[2]);
          communicator.gather(empty, empty, 0);
          communicator.scatter(empty, empty, 0);
          communicator.allToAll(empty, empty);
          communicator.exchange(List.of());
          communicator.broadcast(empty, 0).await();
          return ints();
        });
  }

  @Test
  void aBarrierWaitsForEveryRank() throws Exception {
    PretendedDevices devices = new PretendedDevices(2);
    try (NcclGroup group = NcclGroup.pretended(devices, 2, NcclGroup.PATIENCE)) {
      Work early = group.communicator(0).barrier();
      devices.nccl(0).awaitUnderWay();
      assertThat(early.isDone()).isFalse();

      group.communicator(1).barrier().await();
      early.await();
    }
  }

  @Test
  void operationsAreHandedToTheStreamWithoutWaitingAndMarksAreUsedAgain() throws Exception {
    PretendedDevices devices = new PretendedDevices(2);
    try (NcclGroup group = NcclGroup.pretended(devices, 2, NcclGroup.PATIENCE)) {
      group.run(
          communicator -> {
            Tensor tensor = devices.tensor(communicator.rank(), 1);
            for (int i = 0; i < 100; i++) {
              communicator.broadcast(tensor, 0).await();
            }
            return 0;
          });

      assertThat(devices.nccl(0).marksMade()).isLessThan(5);
    }
  }

  @Test
  void theLastOperationTellsWhoeverAskedToBeTold() throws Exception {
    CountDownLatch heard = new CountDownLatch(2);
    run(
        2,
        (communicator, devices) -> {
          communicator.barrier().whenDone(heard::countDown);
          assertThat(heard.await(20, TimeUnit.SECONDS)).isTrue();
          return ints();
        });
  }

  @Test
  void aMissingRankIsToldWithinTheDeadlineAndEndsTheCommunicator() throws Exception {
    PretendedDevices devices = new PretendedDevices(2);
    try (NcclGroup group = NcclGroup.pretended(devices, 2, SHORT)) {
      NcclCommunicator alone = group.communicator(0);
      Tensor tensor = devices.tensor(0, 1);
      Work first = alone.allReduce(tensor, ReduceOperation.SUM);
      Work second = alone.barrier();
      String message =
          "rank 0/2 all_reduce #0 in group test: not done within 1 s. NCCL does not tell for"
              + " which rank it waits";

      assertThatThrownBy(first::await)
          .isInstanceOf(CollectiveTimeoutException.class)
          .hasMessageStartingWith(message);
      assertThat(devices.nccl(0).isAborted()).isTrue();
      assertThatThrownBy(second::await)
          .isInstanceOf(CollectiveTimeoutException.class)
          .hasMessageStartingWith(message);
      assertThatThrownBy(() -> alone.barrier().await())
          .isInstanceOf(CollectiveTimeoutException.class)
          .hasMessageStartingWith(message);
    }
  }

  @Test
  void aShorterDeadlineOfTheCallerEndsTheCommunicatorToo() throws Exception {
    PretendedDevices devices = new PretendedDevices(2);
    try (NcclGroup group = NcclGroup.pretended(devices, 2, NcclGroup.PATIENCE)) {
      Work work = group.communicator(1).barrier();

      assertThatThrownBy(() -> work.await(SHORT))
          .isInstanceOf(CollectiveTimeoutException.class)
          .hasMessageStartingWith("rank 1/2 barrier #0 in group test: not done within 1 s.");
      assertThat(work.isDone()).isTrue();
      assertThat(devices.nccl(1).isAborted()).isTrue();
    }
  }

  @Test
  void whatNcclReportsFailsEveryOperationWithTheSameCause() throws Exception {
    PretendedDevices devices = new PretendedDevices(2);
    try (NcclGroup group = NcclGroup.pretended(devices, 2, NcclGroup.PATIENCE)) {
      NcclCommunicator communicator = group.communicator(0);
      Work work = communicator.barrier();
      devices.nccl(0).awaitUnderWay();

      devices.nccl(0).breakDown("NCCL reports 'remote process exited' (code 6)");

      String message =
          "rank 0/2 barrier #0 in group test: NCCL reports 'remote process exited' (code 6)."
              + " Another rank's log";
      assertThatThrownBy(work::await)
          .isInstanceOf(CollectiveException.class)
          .hasMessageStartingWith(message)
          .hasRootCauseInstanceOf(NcclError.class);
      assertThatThrownBy(() -> communicator.barrier().await()).hasMessageStartingWith(message);
      assertThat(devices.nccl(0).isAborted()).isTrue();
    }
  }

  @Test
  void aRankWhosePeersDoNotComeIsNotOpened() {
    PretendedDevices devices = new PretendedDevices(2);

    assertThatThrownBy(
            () ->
                NcclCommunicator.open(
                        "test", 0, 2, PretendedDevices.device(0), SHORT, id -> {}, devices.nccl(0))
                    .close())
        .isInstanceOf(CollectiveTimeoutException.class)
        .hasMessageStartingWith("rank 0/2 join in group test: not done within 1 s.");
    assertThat(devices.nccl(0).isAborted()).isTrue();
  }

  @Test
  void closingInPeaceTakesLeave() throws Exception {
    PretendedDevices devices = new PretendedDevices(2);
    NcclCommunicator first;
    try (NcclGroup group = NcclGroup.pretended(devices, 2, NcclGroup.PATIENCE)) {
      first = group.communicator(0);
      group.run(
          communicator -> {
            communicator.barrier().await();
            return 0;
          });
    }

    assertThat(devices.nccl(0).isFreed()).isTrue();
    assertThat(devices.nccl(1).isFreed()).isTrue();
    assertThat(devices.nccl(0).isAborted()).isFalse();
    assertThatThrownBy(() -> first.barrier().await())
        .hasMessage("rank 0/2: the communicator test is closed.");
  }

  @Test
  void closingWhileAnOperationIsUnderWayAbortsIt() throws Exception {
    PretendedDevices devices = new PretendedDevices(2);
    Work work;
    try (NcclGroup group = NcclGroup.pretended(devices, 2, NcclGroup.PATIENCE)) {
      work = group.communicator(0).barrier();
      devices.nccl(0).awaitUnderWay();
    }

    assertThat(devices.nccl(0).isAborted()).isTrue();
    assertThatThrownBy(work::await).hasMessage("rank 0/2: the communicator test is closed.");
  }

  @Test
  void itReadsItsOwnDeviceOnly() throws Exception {
    PretendedDevices devices = new PretendedDevices(2);
    try (NcclGroup group = NcclGroup.pretended(devices, 2, NcclGroup.PATIENCE)) {
      NcclCommunicator second = group.communicator(1);

      assertThat(second.reads(PretendedDevices.device(1))).isTrue();
      assertThat(second.reads(PretendedDevices.device(0))).isFalse();
      assertThat(second.reads(Device.CPU)).isFalse();
      assertThat(second.allocateShared(8, bytes -> null)).isEmpty();
      Tensor elsewhere = devices.tensor(0, 1);
      assertThatThrownBy(() -> second.broadcast(elsewhere, 0))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("a contiguous tensor on cuda:1 is needed");
    }
  }

  @Test
  void whatCannotFitIsRefusedBeforeNcclHearsOfIt() throws Exception {
    PretendedDevices devices = new PretendedDevices(2);
    try (NcclGroup group = NcclGroup.pretended(devices, 2, NcclGroup.PATIENCE)) {
      NcclCommunicator first = group.communicator(0);
      Tensor three = devices.tensor(0, 1, 2, 3);
      Tensor one = devices.tensor(0, 1);

      assertThatThrownBy(() -> first.broadcast(three, 2)).hasMessageContaining("rank 2 cannot");
      assertThatThrownBy(() -> first.allGather(one, three)).hasMessageContaining("parts");
      assertThatThrownBy(() -> first.allGather(one, three, new long[] {2, 1}))
          .hasMessageContaining("is not the part of 2 elements");
      assertThatThrownBy(() -> first.allGather(one, three, new long[] {1, 1}))
          .hasMessageContaining("parts of [1, 1] elements");
      assertThatThrownBy(() -> first.gather(one, null, 0)).hasMessageContaining("the root needs");
      assertThatThrownBy(() -> first.allToAll(three, three)).hasMessageContaining("equal parts");
      assertThatThrownBy(() -> first.send(one, 0, 0))
          .hasMessageContaining("cannot do the transfer");
      assertThatThrownBy(() -> first.send(one, 1, -1))
          .hasMessageContaining("cannot do the transfer");
      assertThat(first.traffic()).isEqualTo(new Traffic(0, 0));
    }
  }

  @Test
  void trafficIsWhatRingsWouldSend() throws Exception {
    List<int[]> found =
        run(
            2,
            (communicator, devices) -> {
              Tensor tensor = devices.tensor(communicator.rank(), 1, 2, 3, 4);
              communicator.allReduce(tensor, ReduceOperation.SUM);
              communicator.broadcast(tensor, 0).await();
              Traffic traffic = communicator.traffic();
              return ints((int) traffic.bytesSent(), (int) traffic.messagesSent());
            });

    expect(found, rank -> rank == 0 ? ints(32, 3) : ints(16, 2));
  }
}
