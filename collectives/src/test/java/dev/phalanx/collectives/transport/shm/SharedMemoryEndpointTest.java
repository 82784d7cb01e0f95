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
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
final class SharedMemoryEndpointTest {
  private final List<Path> before = folders();
  private final JobToken token = JobToken.random();

  private static List<Path> folders() {
    try (Stream<Path> all = Files.list(Path.of("/dev/shm"))) {
      return all.filter(path -> path.getFileName().toString().startsWith("phalanx-")).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private List<Path> newFolders() {
    return folders().stream().filter(folder -> !before.contains(folder)).toList();
  }

  private static List<Link> connect(SharedMemoryEndpoint endpoint) {
    try {
      return endpoint.connect(Deadline.after(Duration.ofSeconds(20)), peer -> Optional.empty());
    } catch (IOException | InterruptedException e) {
      throw new CompletionException(e);
    }
  }

  @Test
  void nothingHasANameOnceAllAreConnected() throws Exception {
    SharedMemoryEndpoint first = SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 2);
    SharedMemoryEndpoint second = SharedMemoryEndpoint.create(token, GroupId.WORLD, 1, 2);
    assertThat(newFolders()).hasSize(1);
    assertThat(newFolders().get(0).toString()).doesNotContain(token.hex().substring(0, 16));
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(newFolders().get(0))))
        .isEqualTo("rwx------");
    CompletableFuture<List<Link>> other = CompletableFuture.supplyAsync(() -> connect(second));
    assertThat(connect(first)).hasSize(2);
    assertThat(other.get(20, TimeUnit.SECONDS)).hasSize(2);
    assertThat(newFolders()).isEmpty();
  }

  @Test
  void theRankThatDoesNotComeIsNamedAndTheRestIsCleanedUp() throws Exception {
    SharedMemoryEndpoint first = SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 3);
    SharedMemoryEndpoint second = SharedMemoryEndpoint.create(token, GroupId.WORLD, 1, 3);
    SharedMemoryEndpoint.create(token, GroupId.WORLD, 2, 3);
    CompletableFuture<List<Link>> other = CompletableFuture.supplyAsync(() -> connect(second));
    assertThatThrownBy(
            () -> first.connect(Deadline.after(Duration.ofMillis(500)), peer -> Optional.empty()))
        .isInstanceOf(CollectiveTimeoutException.class)
        .hasMessageContaining("rank 2 has not mapped");
    other.cancel(true);
    SharedMemoryEndpoint.cleanUp(token);
    assertThat(newFolders()).isEmpty();
  }

  @Test
  void aRankThatIsLostMeanwhileIsNamedAtOnce() throws Exception {
    try (SharedMemoryEndpoint first = SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 2)) {
      assertThatThrownBy(
              () ->
                  first.connect(
                      Deadline.after(Duration.ofSeconds(20)), peer -> Optional.of("is gone")))
          .isInstanceOf(CollectiveException.class)
          .hasMessageContaining("rank 1 is gone");
    }
  }

  @Test
  void aSecondRankOfTheSameNumberIsRefused() throws Exception {
    try (SharedMemoryEndpoint first = SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 2)) {
      assertThatThrownBy(() -> SharedMemoryEndpoint.create(token, GroupId.WORLD, 0, 2))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("rank-0");
      assertThat(first).isNotNull();
    }
  }
}
