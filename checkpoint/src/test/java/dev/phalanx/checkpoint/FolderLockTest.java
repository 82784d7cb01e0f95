package dev.phalanx.checkpoint;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
final class FolderLockTest {
  private static final Duration NOT_AT_ALL = Duration.ZERO;
  private static final Duration LONG = Duration.ofSeconds(30);

  /** Claims the folder of its first argument, says so, and keeps it until its input ends. */
  static final class Holder {
    private Holder() {}

    public static void main(String[] arguments) throws Exception {
      LocalCheckpointStore store = new LocalCheckpointStore(Path.of(arguments[0]));
      store.claim("a process of a test", NOT_AT_ALL);
      System.out.println("claimed");
      while (System.in.read() >= 0) {
        // until whoever has started it wants it to end
      }
      store.close();
    }
  }

  private static Process holder(Path folder) throws IOException {
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Holder.class.getName(),
                folder.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    BufferedReader output = process.inputReader(StandardCharsets.UTF_8);
    assertThat(output.readLine()).isEqualTo("claimed");
    return process;
  }

  @Test
  void whatAnotherProcessHasClaimedIsInUseUntilItEnds(@TempDir Path parent) throws Exception {
    Path folder = parent.resolve("new/checkpoints");
    Process process = holder(folder);
    try (LocalCheckpointStore store = new LocalCheckpointStore(folder)) {
      assertThatThrownBy(() -> store.claim("me", NOT_AT_ALL))
          .isInstanceOf(FolderInUseException.class)
          .hasMessageContaining(folder.toString())
          .hasMessageContaining("a process of a test");

      Future<?> ended = CompletableFuture.runAsync(() -> endInput(process));
      store.claim("me", LONG);
      ended.get(30, SECONDS);
      assertThat(folder.resolve(".lock")).hasContent("me");
    } finally {
      process.destroyForcibly();
      assertThat(process.waitFor(30, SECONDS)).isTrue();
    }
    assertThat(folder.resolve(".lock")).doesNotExist();
  }

  private static void endInput(Process process) {
    try {
      process.getOutputStream().close();
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void whatAKilledProcessHasLeftBarsNobody(@TempDir Path folder) throws Exception {
    Process process = holder(folder);
    process.destroyForcibly();
    assertThat(process.waitFor(30, SECONDS)).isTrue();
    assertThat(folder.resolve(".lock")).hasContent("a process of a test");

    try (LocalCheckpointStore store = new LocalCheckpointStore(folder)) {
      store.claim("me", NOT_AT_ALL);
      assertThat(folder.resolve(".lock")).hasContent("me");
    }
    assertThat(folder).isEmptyDirectory();
  }

  /** Whoever may write to the folder, another user say, may take over what was left. */
  @Test
  void theFileMayBeWrittenByWhoMayWriteToTheFolder(@TempDir Path parent) throws Exception {
    for (String writers : List.of("rwxrwxrwx", "rwxrwxr-x", "rwx------")) {
      Path folder = Files.createDirectory(parent.resolve(writers));
      Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString(writers));
      try (LocalCheckpointStore store = new LocalCheckpointStore(folder)) {
        store.claim("me", NOT_AT_ALL);
        Set<PosixFilePermission> file = Files.getPosixFilePermissions(folder.resolve(".lock"));
        assertThat(file.contains(PosixFilePermission.OTHERS_WRITE))
            .isEqualTo(writers.endsWith("rwx"));
        assertThat(file.contains(PosixFilePermission.GROUP_WRITE))
            .isEqualTo(writers.startsWith("rwxrwx"));
      }
    }
  }

  /** However it is spelled, and though the system lets a process lock what it has locked. */
  @Test
  void twoJobsOfOneProcessAreKeptApartToo(@TempDir Path parent) throws Exception {
    Path folder = Files.createDirectory(parent.resolve("checkpoints"));
    Path link = Files.createSymbolicLink(parent.resolve("link"), folder);
    try (LocalCheckpointStore first = new LocalCheckpointStore(folder);
        LocalCheckpointStore second = new LocalCheckpointStore(link)) {
      first.claim("first", NOT_AT_ALL);
      first.claim("first", NOT_AT_ALL); // it has it
      assertThatThrownBy(() -> second.claim("second", NOT_AT_ALL))
          .isInstanceOf(FolderInUseException.class);
      assertThatThrownBy(() -> second.claim("second", Duration.ofMillis(150)))
          .isInstanceOf(FolderInUseException.class);
      first.close();
      second.claim("second", NOT_AT_ALL);
      assertThat(folder.resolve(".lock")).hasContent("second");
    }
    assertThat(folder).isEmptyDirectory();
  }

  /** Setting checkpoints aside does not take the claim along. */
  @Test
  void theClaimStaysWithTheFolder(@TempDir Path parent) throws Exception {
    Path folder = parent.resolve("checkpoints");
    Path saved = Files.createDirectories(folder.resolve("step-000004"));
    Files.writeString(saved.resolve(CheckpointManifest.FILE), "{}");
    try (LocalCheckpointStore first = new LocalCheckpointStore(folder);
        LocalCheckpointStore second = new LocalCheckpointStore(folder)) {
      first.claim("first", NOT_AT_ALL);
      assertThat(first.setAside()).isPresent();
      assertThatThrownBy(() -> second.claim("second", NOT_AT_ALL))
          .isInstanceOf(FolderInUseException.class);
    }
  }

  @Test
  void aFileInItsPlaceIsReported(@TempDir Path parent) throws Exception {
    Path file = Files.writeString(parent.resolve("checkpoints"), "a file");
    try (LocalCheckpointStore store = new LocalCheckpointStore(file)) {
      assertThatThrownBy(() -> store.claim("me", NOT_AT_ALL))
          .isInstanceOf(CheckpointWriteException.class)
          .isNotInstanceOf(FolderInUseException.class)
          .hasMessageContaining(file.toString());
    }
  }

  /** The file comes and goes with each of them; never do two have it. */
  @Test
  void manyInTurnAreNeverTwo(@TempDir Path parent) throws Exception {
    Path folder = parent.resolve("checkpoints");
    int threads = 4;
    AtomicInteger inside = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    CountDownLatch all = new CountDownLatch(threads);
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      List<Future<?>> claims =
          IntStream.range(0, threads)
              .<Future<?>>mapToObj(
                  thread ->
                      pool.submit(
                          () -> {
                            all.countDown();
                            all.await();
                            for (int i = 0; i < 5; i++) {
                              try (LocalCheckpointStore store = new LocalCheckpointStore(folder)) {
                                store.claim("thread " + thread, LONG);
                                most.accumulateAndGet(inside.incrementAndGet(), Math::max);
                                inside.decrementAndGet();
                              }
                            }
                            return null;
                          }))
              .toList();
      for (Future<?> claim : claims) {
        claim.get(50, SECONDS);
      }
    } finally {
      pool.shutdownNow();
    }
    assertThat(most.get()).isEqualTo(1);
    assertThat(folder).isEmptyDirectory();
  }
}
