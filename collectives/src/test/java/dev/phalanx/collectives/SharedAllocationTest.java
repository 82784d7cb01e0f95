package dev.phalanx.collectives;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.status.LocalStatusBoard;
import dev.phalanx.collectives.transport.InProcessNetwork;
import dev.phalanx.collectives.transport.SharedMemory;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.tensor.Storage;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Two ranks that ask for memory in common, over one that tells what lies in it. */
@Timeout(60)
final class SharedAllocationTest {
  private static final Duration LONG = Duration.ofSeconds(20);

  private final Map<String, ByteBuffer> inSight = new ConcurrentHashMap<>();
  private final Map<String, ByteBuffer> everMade = new ConcurrentHashMap<>();
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final List<Communicator> ranks = ranks();

  private List<Communicator> ranks() {
    InProcessNetwork network = new InProcessNetwork(2);
    LocalStatusBoard board = new LocalStatusBoard();
    List<Communicator> all = new ArrayList<>();
    for (int rank = 0; rank < 2; rank++) {
      Transport transport = network.transport(rank);
      all.add(
          new QueuedCommunicator(
              GroupMembers.world("test", rank, 2),
              new Transport(
                  rank, transport.topology(), network.links(rank), Optional.of(new Memory(rank))),
              GroupOptions.withTimeout(LONG),
              board));
    }
    return all;
  }

  private final class Memory implements SharedMemory {
    private final int rank;

    Memory(int rank) {
      this.rank = rank;
    }

    @Override
    public ByteBuffer create(int block, int bytes) {
      ByteBuffer made = ByteBuffer.allocateDirect(bytes);
      inSight.put(rank + "/" + block, made);
      everMade.put(rank + "/" + block, made);
      return made;
    }

    @Override
    public ByteBuffer attach(int peer, int block, int bytes) {
      return inSight.getOrDefault(peer + "/" + block, ByteBuffer.allocate(0));
    }

    @Override
    public void hide(int block) {
      inSight.remove(rank + "/" + block);
    }
  }

  @AfterEach
  void close() {
    ranks.forEach(Communicator::close);
    threads.shutdownNow();
  }

  private Future<Optional<Storage>> allocate(int rank, long bytes) {
    return threads.submit(() -> ranks.get(rank).allocateShared(bytes, BufferStorage::new));
  }

  @Test
  void nothingIsInSightOnceAllHaveIt() throws Exception {
    Future<Optional<Storage>> first = allocate(0, 4096);
    assertThat(allocate(1, 4096).get(20, SECONDS)).isPresent();
    assertThat(first.get(20, SECONDS)).isPresent();
    assertThat(everMade).hasSize(2);
    assertThat(inSight).isEmpty();
  }

  @Test
  void nothingStaysInSightWhereARankIsLostMeanwhile() {
    ranks.get(1).close();
    Future<Optional<Storage>> first = allocate(0, 4096);
    assertThatThrownBy(() -> first.get(20, SECONDS))
        .cause()
        .isInstanceOf(CollectiveException.class)
        .hasMessageContaining("rank 1 has left the group");
    assertThat(inSight).isEmpty();
  }

  @Test
  void aClosedCommunicatorMakesNothing() {
    ranks.get(0).close();
    assertThatThrownBy(() -> ranks.get(0).allocateShared(4096, BufferStorage::new))
        .isInstanceOf(CollectiveException.class)
        .hasMessageContaining("the communicator test is closed");
    assertThat(everMade).isEmpty();
  }

  @Test
  void ranksThatWantDifferentAmountsAllLearnIt() throws Exception {
    for (long other : List.of(8192L, 0L, 1L << 40)) {
      Future<Optional<Storage>> first = allocate(0, 4096);
      Future<Optional<Storage>> second = allocate(1, other);
      assertThatThrownBy(() -> first.get(20, SECONDS))
          .cause()
          .isInstanceOf(CollectiveMismatchException.class)
          .hasMessageContaining("wants 4096 bytes of shared memory but rank 1 wants " + other);
      assertThatThrownBy(() -> second.get(20, SECONDS))
          .cause()
          .isInstanceOf(CollectiveMismatchException.class)
          .hasMessageContaining("wants " + other + " bytes of shared memory but rank 0 wants 4096");
      assertThat(inSight).isEmpty();
    }
    Future<Optional<Storage>> later = allocate(0, 4096);
    assertThat(allocate(1, 4096).get(20, SECONDS)).isPresent();
    assertThat(later.get(20, SECONDS)).isPresent();
  }
}
