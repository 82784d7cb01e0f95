package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Ranks that something else starts, each by a command of its own. */
@Timeout(180)
final class ExternalRanksTest {
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 32, heads: 2, sequence: 32, vocab: 256}
      data: {kind: reference}
      batch: {global: 4, micro: 1}
      optimizer: {kind: adamw, lr: 1.0e-3}
      steps: 3
      threads: 1
      log: {every: 1, report: report.json}
      """;

  @TempDir private Path folder = Path.of("");
  private int port;

  @BeforeEach
  void makeTokenAndFindPort() throws Exception {
    assertThat(Command.in(folder).run("token", "job.token").status()).isZero();
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = free.getLocalPort();
    }
    Files.writeString(folder.resolve("plan.yaml"), PLAN);
  }

  private Command rank(int rank, int worldSize) {
    return Command.in(folder)
        .with("RANK", Integer.toString(rank))
        .with("WORLD_SIZE", Integer.toString(worldSize))
        .with("LOCAL_RANK", Integer.toString(rank))
        .with("LOCAL_WORLD_SIZE", Integer.toString(worldSize))
        .with("MASTER_ADDR", "127.0.0.1")
        .with("MASTER_PORT", Integer.toString(port))
        .with("PHALANX_TOKEN_FILE", "job.token");
  }

  private static String[] measure(String... options) {
    return Stream.concat(
            Stream.of("bench", "collectives", "--external", "--json", "--op=all_reduce"),
            Stream.concat(
                Stream.of("--sizes=999K", "--samples=3", "--warmup=1"), Stream.of(options)))
        .toArray(String[]::new);
  }

  /** Rank 1 is there long before rank 0, whom it has to wait for. */
  @ParameterizedTest
  @ValueSource(strings = {"tcp", "shm"})
  void twoRanksMeetAndRankZeroPrintsTheResult(String transport) throws Exception {
    String[] measure = measure("--transport=" + transport);
    try (Command.Started second = rank(1, 2).start(measure)) {
      assertThat(second.workers(1)).allMatch(ProcessHandle::isAlive);
      Command.Outcome first = rank(0, 2).run(measure);

      assertThat(first.status()).as(first.error()).isZero();
      assertThat(first.output().lines()).hasSize(1);
      JsonNode row = new ObjectMapper().readTree(first.output());
      assertThat(row.path("op").asText()).isEqualTo("all_reduce");
      assertThat(row.path("ranks").intValue()).isEqualTo(2);
      assertThat(row.path("transport").asText()).isEqualTo(transport);
      assertThat(row.path("wrong").longValue()).isZero();
      assertThat(second.await()).isEqualTo(new Command.Outcome(0, "", ""));
    }
  }

  @Test
  void twoRanksTrainTogether() throws Exception {
    String[] train = {"train", "plan.yaml", "--external", "--quiet", "--json"};
    try (Command.Started second = rank(1, 2).start(train)) {
      Command.Outcome first = rank(0, 2).run(train);

      assertThat(first.status()).as(first.error()).isZero();
      assertThat(new ObjectMapper().readTree(first.output()).path("result").asText())
          .isEqualTo("completed");
      assertThat(second.await()).isEqualTo(new Command.Outcome(0, "", ""));
    }
    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(report.path("world_size").intValue()).isEqualTo(2);
    assertThat(report.path("steps")).hasSize(3);
  }

  @Test
  void theTokenIsAllThatRanksNeedToTalkOverTls() throws Exception {
    String[] measure = measure("--transport=grpc", "--tls=auto");
    try (Command.Started second = rank(1, 2).start(measure)) {
      Command.Outcome first = rank(0, 2).run(measure);

      assertThat(first.status()).as(first.error()).isZero();
      assertThat(new ObjectMapper().readTree(first.output()).path("wrong").longValue()).isZero();
      assertThat(second.await()).isEqualTo(new Command.Outcome(0, "", ""));
    }
  }

  @Test
  void aRankThatEncryptsAloneIsRefused() throws Exception {
    try (Command.Started first = rank(0, 2).start(measure("--transport=grpc"))) {
      Command.Outcome second = rank(1, 2).run(measure("--transport=grpc", "--tls=auto"));

      assertThat(second.status()).as(second.error()).isEqualTo(73);
      assertThat(second.error()).contains("rank 1/2", "--tls is not the same on all ranks");
      assertThat(first.handle().isAlive()).isTrue();
    }
  }

  @Test
  void aRankThatIsKilledEndsTheOthersAndIsNamed() throws Exception {
    String[] endless = {"train", "plan.yaml", "--external", "--set", "steps=100000000"};
    try (Command.Started first = rank(0, 2).start(endless);
        Command.Started second = rank(1, 2).start(endless)) {
      first.awaitErrorLine(line -> line.startsWith("step 1/"));
      ProcessHandle worker = second.workers(1).get(0);
      assertThat(second.handle().destroyForcibly()).isTrue();
      Command.Outcome outcome = first.await();

      assertThat(outcome.status()).as(outcome.error()).isEqualTo(70);
      assertThat(outcome.error()).contains("rank 1");
      worker.onExit().get(10, TimeUnit.SECONDS);
    }
  }

  @Test
  void whatRankZeroCannotWriteEndsEveryRankWithTheSameStatus() throws Exception {
    String[] train = {
      "train",
      "plan.yaml",
      "--external",
      "--set",
      "checkpoint={dir: checkpoints, every: 500}",
      "--set",
      "steps=500"
    };
    try (Command.Started second = rank(1, 2).start(train);
        Command.Started first = rank(0, 2).start(train)) {
      first.awaitErrorLine(line -> line.startsWith("step 1/"));
      // From here on no folder can be made.
      Files.delete(folder.resolve("checkpoints/.lock"));
      Files.delete(folder.resolve("checkpoints"));
      Files.createSymbolicLink(folder.resolve("checkpoints"), folder.resolve("nowhere"));
      Command.Outcome writer = first.await();
      Command.Outcome other = second.await();

      assertThat(writer.status()).as(writer.error()).isEqualTo(74);
      assertThat(writer.error()).contains("step-000500 could not be written");
      assertThat(other.status()).as(other.error()).isEqualTo(74);
      assertThat(other.error())
          .contains("rank 0 could not write the checkpoint", "step-000500 could not be written");
    }
  }

  @Test
  void whatRankZeroCannotWriteAtAllIsSaidBeforeAnythingStarts() throws Exception {
    Files.createSymbolicLink(folder.resolve("link"), folder.resolve("nowhere"));
    Files.createFile(folder.resolve("file"));
    for (String key : List.of("checkpoint.dir=link/of", "log.report=file/x.json")) {
      Command.Outcome outcome = rank(0, 2).run("train", "plan.yaml", "--external", "--set", key);
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(74);
      assertThat(outcome.error())
          .contains(key.substring(0, key.indexOf('=')) + ": nothing can be written in");
      assertThat(outcome.error()).doesNotContain("step 1/");
    }
    assertThat(folder.resolve("link")).isSymbolicLink();
  }

  @Test
  void aRankOfAnotherTokenIsRefused() throws Exception {
    assertThat(Command.in(folder).run("token", "other.token").status()).isZero();
    String[] measure = measure("--transport=tcp"); // rank 0 is killed, and would leave its memory
    try (Command.Started first = rank(0, 2).start(measure)) {
      Command.Outcome second = rank(1, 2).with("PHALANX_TOKEN_FILE", "other.token").run(measure);

      assertThat(second.status()).as(second.error()).isEqualTo(73);
      assertThat(second.error()).contains("token");
      assertThat(first.handle().isAlive()).isTrue();
    }
  }

  @Test
  void whoeverDoesNotComeIsNamedWhenTheDeadlinePasses() throws Exception {
    String[] hasty = measure("--timeout=1");

    Command.Outcome first = rank(0, 2).run(hasty);
    assertThat(first.status()).as(first.error()).isEqualTo(72);
    assertThat(first.error()).contains("rank 1 of 2 has not joined");

    Command.Outcome second = rank(1, 2).run(hasty);
    assertThat(second.status()).as(second.error()).isEqualTo(72);
    assertThat(second.error()).contains("127.0.0.1:" + port);
  }

  @Test
  void aPortThatIsTakenIsTold() throws Exception {
    try (ServerSocket taken = new ServerSocket(port, 1, InetAddress.getLoopbackAddress())) {
      Command.Outcome outcome = rank(0, 2).run(measure());

      assertThat(outcome.status()).as(outcome.error()).isEqualTo(75);
      assertThat(outcome.error()).contains(Integer.toString(taken.getLocalPort()), "MASTER_PORT");
    }
  }

  @Test
  void aTokenFileThatEverybodyCanReadIsRefused() throws Exception {
    Files.setPosixFilePermissions(
        folder.resolve("job.token"), PosixFilePermissions.fromString("rw-r--r--"));

    assertWrongUsage(rank(0, 2).run(measure()), "job.token", "rw-r--r--", "chmod 600");
  }

  @ParameterizedTest
  @CsvSource({
    "MASTER_ADDR, '', there is no MASTER_ADDR",
    "RANK, 2, RANK is '2'; it must be a number from 0 to 1",
    "MASTER_ADDR, 0.0.0.0, which means every address",
    "PHALANX_TOKEN_FILE, '', --token-file",
    "PHALANX_ADDRESS, 192.0.2.1, PHALANX_ADDRESS is 192.0.2.1"
  })
  void aWrongEnvironmentIsOneMessage(String name, String value, String message) throws Exception {
    assertWrongUsage(rank(0, 2).with(name, value).run(measure()), message);
  }

  private static void assertWrongUsage(Command.Outcome outcome, String... message) {
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(64);
    assertThat(outcome.error()).contains(message).doesNotContain("\tat ");
    assertThat(outcome.error().lines()).hasSize(1);
  }
}
