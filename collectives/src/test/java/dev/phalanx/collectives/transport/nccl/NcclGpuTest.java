package dev.phalanx.collectives.transport.nccl;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.tensor.Device;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The real NCCL: one rank for each GPU of this host. Skipped where there is none. */
final class NcclGpuTest {
  @BeforeEach
  void requireNccl() {
    NcclLibrary library = NcclLibrary.probe();
    assumeTrue(library.isUsable(), () -> library.reason().orElse(""));
  }

  private static NcclGroup open(int size) throws Exception {
    return new NcclGroup(size, JavaCppNccl::new, rank -> device(rank), NcclGroup.PATIENCE);
  }

  private static Device device(int index) {
    return new Device(Device.Kind.CUDA, index);
  }

  @Test
  void oneRankDoesEveryOperation() throws Exception {
    try (NcclGroup group = open(1);
        GpuMemory first = new GpuMemory(device(0), 1, 2, 3);
        GpuMemory second = new GpuMemory(device(0), 0, 0, 0)) {
      NcclCommunicator communicator = group.communicator(0);

      for (ReduceOperation operation : ReduceOperation.values()) {
        communicator.allReduce(first.tensor(), operation).await();
        communicator.reduce(first.tensor(), operation, 0).await();
      }
      assertThat(first.values()).containsExactly(1, 2, 3);
      communicator.allGather(first.tensor(), second.tensor()).await();
      assertThat(second.values()).containsExactly(1, 2, 3);
      communicator.reduceScatter(first.tensor(), second.tensor(), ReduceOperation.SUM).await();
      communicator.allGather(first.tensor(), second.tensor(), new long[] {3}).await();
      communicator.gather(first.tensor(), second.tensor(), 0).await();
      communicator.scatter(first.tensor(), second.tensor(), 0).await();
      communicator.allToAll(first.tensor(), second.tensor()).await();
      communicator.broadcast(second.tensor(), 0).await();
      communicator.barrier().await();
      assertThat(second.values()).containsExactly(1, 2, 3);
    }
  }

  @Test
  void ranksOfSeveralGpusMeet() throws Exception {
    int size = NcclLibrary.probe().deviceCount();
    assumeTrue(size > 1, "one GPU alone");
    try (NcclGroup group = open(size)) {
      List<float[]> sums = group.run(NcclGpuTest::sumOfRanks);
      List<float[]> neighbours = group.run(NcclGpuTest::rankOfTheOneBefore);

      for (int rank = 0; rank < size; rank++) {
        assertThat(sums.get(rank)).containsExactly(size * (size - 1) / 2.0f, size);
        assertThat(neighbours.get(rank)).containsExactly((rank + size - 1) % size);
      }
    }
  }

  private static float[] sumOfRanks(NcclCommunicator communicator) throws InterruptedException {
    int rank = communicator.rank();
    try (GpuMemory memory = new GpuMemory(device(rank), rank, 1)) {
      communicator.allReduce(memory.tensor(), ReduceOperation.SUM).await();
      return memory.values();
    }
  }

  private static float[] rankOfTheOneBefore(NcclCommunicator communicator)
      throws InterruptedException {
    int rank = communicator.rank();
    int size = communicator.size();
    try (GpuMemory own = new GpuMemory(device(rank), rank);
        GpuMemory received = new GpuMemory(device(rank), -1)) {
      communicator
          .exchange(
              List.of(
                  new PointToPoint.Send(own.tensor(), (rank + 1) % size, 0),
                  new PointToPoint.Receive(received.tensor(), (rank + size - 1) % size, 0)))
          .await();
      return received.values();
    }
  }
}
