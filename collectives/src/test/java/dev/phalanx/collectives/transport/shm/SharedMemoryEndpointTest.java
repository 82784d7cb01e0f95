package dev.phalanx.collectives.transport.shm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Link;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
final class SharedMemoryEndpointTest {
  private static final String HOST = SharedMemoryEndpoint.hostIdentity().orElseThrow();

  private static final Duration PATIENCE = Duration.ofSeconds(20);

  private static final SharedMemoryEndpoint.Peers PEERS =
      new SharedMemoryEndpoint.Peers(
          "rank 10/20 in group g", peer -> 10 + peer, peer -> Optional.empty());

  private final JobToken token = JobToken.random();

  /** The job's, as {@code docs/wire-format.md} describes it; other jobs of the host have theirs. */
  private Path folder() {
    byte[] name = token.prove(new byte[0], "phalanx shared memory folder");
    return Path.of("/dev/shm", "phalanx-" + HexFormat.of().formatHex(name, 0, 16));
  }

  private static SharedMemoryEndpoint.Peers losing(int lost) {
    return new SharedMemoryEndpoint.Peers(
        PEERS.self(),
        PEERS.names(),
        peer -> peer == lost ? Optional.of("is gone") : Optional.empty());
  }

  private static List<Link> connect(SharedMemoryEndpoint endpoint, Duration patience) {
    try {
      return endpoint.connect(Deadline.after(patience), PEERS);
    } catch (IOException | InterruptedException e) {
      throw new CompletionException(e);
    }
  }

  /** A container has 64 MiB as a rule, for all groups of a job. */
  @Test
  void ringsAreSmallWhereThereIsLittleSharedMemory() {
    long container = 64L << 20;
    assertThat(SharedMemoryEndpoint.ringBytes(2, 24L << 30)).isEqualTo(8 << 20);
    assertThat(SharedMemoryEndpoint.ringBytes(2, container)).isEqualTo(512 << 10);
    assertThat(SharedMemoryEndpoint.ringBytes(8, container)).isEqualTo(64 << 10);
    assertThat(SharedMemoryEndpoint.pieceBytes(2, "boot/7/" + container)).isEqualTo(128 << 10);
    assertThat(SharedMemoryEndpoint.pieceBytes(2, HOST)).isPositive();
  }

  @Test
  void nothingHasANameOnceAllAreConnected() throws Exception {
    SharedMemoryEndpoint first = SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 2, HOST);
    SharedMemoryEndpoint second = SharedMemoryEndpoint.create(token, GroupId.WORLD, 1, 2, HOST);
    assertThat(folder()).isDirectory();
    assertThat(folder().toString()).doesNotContain(token.hex().substring(0, 16));
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(folder())))
        .isEqualTo("rwx------");
    CompletableFuture<List<Link>> other =
        CompletableFuture.supplyAsync(() -> connect(second, PATIENCE));
    assertThat(connect(first, PATIENCE)).hasSize(2);
    assertThat(other.get(20, TimeUnit.SECONDS)).hasSize(2);
    assertThat(folder()).doesNotExist();
  }

  @Test
  void theRankThatDoesNotComeIsNamedAndNothingIsLeft() throws Exception {
    SharedMemoryEndpoint first = SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 3, HOST);
    SharedMemoryEndpoint second = SharedMemoryEndpoint.create(token, GroupId.WORLD, 1, 3, HOST);
    SharedMemoryEndpoint.create(token, GroupId.WORLD, 2, 3, HOST);
    CompletableFuture<List<Link>> other =
        CompletableFuture.supplyAsync(() -> connect(second, Duration.ofSeconds(1)));
    assertThatThrownBy(() -> first.connect(Deadline.after(Duration.ofMillis(500)), PEERS))
        .isInstanceOf(CollectiveTimeoutException.class)
        .hasMessageContaining("rank 12 has not come to share memory");
    assertThatThrownBy(() -> other.get(20, TimeUnit.SECONDS))
        .cause()
        .isInstanceOf(CollectiveTimeoutException.class)
        .hasMessageContaining("has not come to share memory");
    assertThat(folder()).doesNotExist();
  }

  @Test
  void theLastToHearOfALostRankLeavesNothingOfIt() throws Exception {
    SharedMemoryEndpoint first = SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 3, HOST);
    SharedMemoryEndpoint.create(token, GroupId.WORLD, 2, 3, HOST); // and is lost
    for (int rank = 0; rank < 2; rank++) {
      SharedMemoryEndpoint survivor =
          rank == 0 ? first : SharedMemoryEndpoint.create(token, GroupId.WORLD, 1, 3, HOST);
      assertThatThrownBy(() -> survivor.connect(Deadline.after(Duration.ofSeconds(20)), losing(2)))
          .isInstanceOf(CollectiveException.class)
          .hasMessageContaining("rank 12 is gone");
      assertThat(folder()).doesNotExist();
    }
  }

  /** As in a worker whose launcher is lost: its threads go on until the process ends. */
  @Test
  void ranksThatGoOnMakingFilesLeaveNothingOnceTheProcessHasCleanedUp() throws Exception {
    CountDownLatch begun = new CountDownLatch(3);
    AtomicInteger number = new AtomicInteger();
    Callable<IOException> maker =
        () -> {
          for (; ; ) {
            try {
              SharedMemoryEndpoint.create(
                  token, GroupId.WORLD, number.getAndIncrement(), 4, "boot/7/" + (64L << 20));
              begun.countDown();
            } catch (IOException e) {
              return e;
            }
          }
        };
    ExecutorService makers = Executors.newFixedThreadPool(3);
    try {
      List<Future<IOException>> ends =
          Stream.generate(() -> makers.submit(maker)).limit(3).toList();
      assertThat(begun.await(20, TimeUnit.SECONDS)).isTrue();

      SharedMemoryEndpoint.cleanUpBesideRanks(token);

      assertThat(folder()).doesNotExist();
      for (Future<IOException> end : ends) {
        assertThat(end.get(20, TimeUnit.SECONDS)).hasMessageContaining("the job has ended");
      }
      assertThatThrownBy(() -> SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 2, HOST))
          .hasMessageContaining("the job has ended");
      assertThat(folder()).doesNotExist();
    } finally {
      makers.shutdownNow();
    }
  }

  @Test
  void aRankThatIsLostMeanwhileIsNamedAtOnce() throws Exception {
    try (SharedMemoryEndpoint first =
        SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 2, HOST)) {
      assertThatThrownBy(() -> first.connect(Deadline.after(Duration.ofSeconds(20)), losing(1)))
          .isInstanceOf(CollectiveException.class)
          .hasMessage("rank 10/20 in group g, connecting: rank 11 is gone");
    }
  }

  @Test
  void aRankThatIsLostEndsTheWaitForAnotherOne() throws Exception {
    SharedMemoryEndpoint first = SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 3, HOST);
    assertThatThrownBy(() -> first.connect(Deadline.after(PATIENCE), losing(2)))
        .isInstanceOf(CollectiveException.class)
        .hasMessageContaining("rank 12 is gone");
  }

  @Test
  void aSecondRankOfTheSameNumberIsRefused() throws Exception {
    try (SharedMemoryEndpoint first =
        SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 2, HOST)) {
      assertThatThrownBy(() -> SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 2, HOST))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("rank-0");
      assertThat(first).isNotNull();
    }
  }
}
