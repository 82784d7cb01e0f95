package dev.phalanx.collectives.transport.nccl;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.HostTensors;
import dev.phalanx.collectives.InProcessGroups;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** The identifier's way over a communicator of the host. */
final class NcclUniqueIdExchangeTest {
  @Test
  void everyRankHasTheBytesOfTheFirst() throws Exception {
    InProcessGroups network = groups(2);
    ExecutorService threads = Executors.newCachedThreadPool();
    try (Communicator first = communicator(network, 0);
        Communicator second = communicator(network, 1)) {
      Future<byte[]> atFirst = threads.submit(() -> shared(first, (byte) 1));
      Future<byte[]> atSecond = threads.submit(() -> shared(second, (byte) 2));

      assertThat(atFirst.get(20, SECONDS)).containsOnly(1).hasSize(128);
      assertThat(atSecond.get(20, SECONDS)).containsOnly(1).hasSize(128);
    } finally {
      threads.shutdownNow();
    }
  }

  private static InProcessGroups groups(int size) {
    return new InProcessGroups(size, GroupOptions.withTimeout(NcclGroup.PATIENCE));
  }

  private static Communicator communicator(InProcessGroups network, int rank) throws Exception {
    return network.ofRank(rank).world();
  }

  private static byte[] shared(Communicator host, byte own) throws InterruptedException {
    byte[] id = new byte[128];
    Arrays.fill(id, own);
    UniqueIdExchange.over(host, message(128)).share(id);
    return id;
  }

  @Test
  void aMessageOfTheWrongLengthIsRefused() throws Exception {
    try (Communicator host = communicator(groups(1), 0)) {
      assertThatThrownBy(() -> UniqueIdExchange.over(host, message(64)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("128 UINT8 in host memory");
    }
  }

  private static Tensor message(int bytes) {
    return HostTensors.of(DType.UINT8, bytes, i -> 0);
  }
}
