package dev.phalanx.launcher.worker;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.ConnectedGroups;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.TransportKind;
import dev.phalanx.collectives.rendezvous.RendezvousServer;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.event.AssignmentCodec;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A worker process, with the test as its launcher. */
@Timeout(120)
final class WorkerMainTest {
  private static final Duration TIMEOUT = Duration.ofSeconds(60);
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();

  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 16, heads: 2, sequence: 8}
      data: {kind: reference}
      batch: {global: 4, micro: 2}
      optimizer: {kind: sgd, lr: 1.0e-3}
      steps: 2
      """;

  private final JobToken token = JobToken.random();

  @TempDir private Path folder = Path.of("");

  /** The other rank has come to the rendezvous and never maps what this one has made. */
  @Test
  void aLauncherThatIsLostDuringSetUpLeavesNothingInSharedMemory() throws Exception {
    Path files = sharedFolder();
    Credentials own = Credentials.of(token, Encryption.NONE);
    try (RendezvousServer server =
        RendezvousServer.start(new InetSocketAddress(LOOPBACK, 0), 2, own, TIMEOUT)) {
      Process worker = start();
      try (ConnectedGroups other = joinAsRankOne(worker, server.port(), own)) {
        assertThat(other.worldSize()).isEqualTo(2);
        long end = System.nanoTime() + TIMEOUT.toNanos();
        while (!Files.exists(files) && worker.isAlive() && System.nanoTime() < end) {
          LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(5)); // no event tells of a file
        }
        assertThat(files).exists();

        worker.getOutputStream().close();

        assertThat(worker.waitFor(TIMEOUT.toSeconds(), TimeUnit.SECONDS)).isTrue();
        assertThat(worker.exitValue()).isEqualTo(ExitStatus.LAUNCHER_LOST.code());
        assertThat(files).doesNotExist();
      } finally {
        worker.destroyForcibly();
      }
    }
  }

  /** As the launcher asks when the other ranks have waited for it long enough. */
  @Test
  void aRankThatWaitsTellsWhatItsThreadsDo() throws Exception {
    Credentials own = Credentials.of(token, Encryption.NONE);
    try (RendezvousServer server =
        RendezvousServer.start(new InetSocketAddress(LOOPBACK, 0), 2, own, TIMEOUT)) {
      Process worker = start();
      try {
        tell(worker, AssignmentCodec.encode(assignment(server.port())));
        Path log = folder.resolve("log");
        long end = System.nanoTime() + TIMEOUT.toNanos();
        while (!Files.readString(log).contains("RendezvousClient.join")
            && worker.isAlive()
            && System.nanoTime() < end) {
          tell(worker, "where"); // until it has come so far, of which nothing tells
          LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(100));
        }
        assertThat(log)
            .content()
            .contains("What its threads do:\n", "\nmain, ", "RendezvousClient.join")
            .doesNotContain(token.hex());
      } finally {
        worker.destroyForcibly();
      }
    }
  }

  private Process start() throws Exception {
    return new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-cp",
            System.getProperty("java.class.path"),
            WorkerMain.class.getName())
        .redirectOutput(folder.resolve("events").toFile())
        .redirectError(folder.resolve("log").toFile())
        .start();
  }

  private ConnectedGroups joinAsRankOne(Process worker, int port, Credentials own)
      throws Exception {
    tell(worker, AssignmentCodec.encode(assignment(port)));
    byte[] plan =
        MessageDigest.getInstance("SHA-256").digest(PLAN.getBytes(StandardCharsets.UTF_8));
    return ConnectedGroups.join(
        new ConnectedGroups.Joining(
            1,
            2,
            HexFormat.of().formatHex(plan),
            new InetSocketAddress(LOOPBACK, port),
            LOOPBACK,
            own,
            TransportKind.AUTO),
        GroupOptions.withTimeout(TIMEOUT));
  }

  private Assignment assignment(int port) {
    return new Assignment(
        token.hex(),
        Encryption.NONE,
        Assignment.Task.TRAIN,
        PLAN,
        2,
        List.of(0),
        0,
        2,
        LOOPBACK.getHostAddress(),
        LOOPBACK.getHostAddress(),
        port,
        1,
        folder,
        Optional.empty());
  }

  private static void tell(Process worker, String line) throws IOException {
    OutputStream input = worker.getOutputStream();
    input.write((line + "\n").getBytes(StandardCharsets.UTF_8));
    input.flush();
  }

  /** As {@code docs/wire-format.md} describes it. */
  private Path sharedFolder() {
    byte[] name = token.prove(new byte[0], "phalanx shared memory folder");
    return Path.of("/dev/shm", "phalanx-" + HexFormat.of().formatHex(name, 0, 16));
  }
}
