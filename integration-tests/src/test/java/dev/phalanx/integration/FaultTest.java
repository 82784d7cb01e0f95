package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Sample;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Whatever dies, the job ends, says why, and leaves no process behind. */
@Timeout(180)
final class FaultTest {
  /** A shell's background jobs, and what they start, ignore Ctrl-C, and these tests may be one. */
  private static final List<String> HEARING_INTERRUPTS = List.of("env", "--default-signal=INT,HUP");

  /** Longer than any test lets it run. */
  private static final String ENDLESS =
      """
      model: {family: gpt2, layers: 1, hidden: 32, heads: 2, sequence: 32, vocab: 256}
      data: {kind: reference}
      batch: {global: 12, micro: 1}
      optimizer: {kind: adamw, lr: %s}
      steps: 100000000
      threads: 1
      checkpoint: {dir: checkpoints, every: 0}
      log: {every: 1, report: report.json}
      """;

  @TempDir private Path folder = Path.of("");

  @Sample(3)
  @ParameterizedTest
  @CsvSource({"2, 0, auto, 1", "2, 1, auto, 1", "3, 1, auto, 1", "3, 1, tcp, 3"})
  void theRankThatIsKilledIsNamed(int ranks, int victim, String transport, int streams)
      throws Exception {
    try (Command.Started job =
        start(
            "1.0e-3",
            "--workers",
            Integer.toString(ranks),
            "--set",
            "communication.transport=" + transport,
            "--set",
            "communication.streams=" + streams)) {
      Command.Outcome outcome = killed(job, ranks, victim);
      assertThat(outcome.error()).doesNotContain("\tat ");
    }
    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(report.path("result").asText()).isEqualTo("failed");
    assertThat(report.path("ranks").valueStream().map(rank -> rank.path("rank").intValue()))
        .containsExactlyElementsOf(
            IntStream.range(0, ranks).filter(rank -> rank != victim).boxed().toList());
    JsonNode survivor = report.path("ranks").path(0);
    assertThat(survivor.path("bytes_sent").path("data").longValue()).isPositive();
    assertThat(survivor.path("compute_ms").doubleValue()).isPositive();
  }

  /**
   * A stage of a pipeline, a part of every matrix or of every sequence: in the midst of a step
   * others wait for it.
   */
  @Sample(3)
  @ParameterizedTest
  @CsvSource({"pipeline, 3, 1", "tensor, 2, 1", "context, 2, 0"})
  void aRankThatOthersWaitForWithinAStepIsNamedWhenItIsKilled(String axis, int ranks, int victim)
      throws Exception {
    try (Command.Started job =
        start(
            "1.0e-3",
            "--workers",
            Integer.toString(ranks),
            "--set",
            "model.layers=4",
            "--set",
            "parallel." + axis + "=" + ranks)) {
      killed(job, ranks, victim);
    }
  }

  /** Before it meets the others, when it has met them, and when its first group is there. */
  @Sample(2)
  @ParameterizedTest
  @CsvSource({
    "listens on, auto",
    "the rendezvous at, auto",
    "the rendezvous at, tcp",
    "group world, auto",
    "group world, grpc"
  })
  void aRankThatIsKilledWhileTheJobIsSetUpIsNamed(String phase, String transport) throws Exception {
    try (Command.Started job =
        start(
            "1.0e-3",
            "--verbose",
            "--workers",
            "3",
            "--set",
            "communication.transport=" + transport)) {
      job.awaitErrorLine(line -> line.contains("rank 1/3: ") && line.contains(phase));
      requireNamedWhenKilled(job, job.workers(3), 1);
    }
  }

  /** Kills a rank: it is named, and no process is left. */
  private static Command.Outcome killed(Command.Started job, int ranks, int victim)
      throws Exception {
    return requireNamedWhenKilled(job, workers(job, ranks), victim);
  }

  private static Command.Outcome requireNamedWhenKilled(
      Command.Started job, List<ProcessHandle> workers, int victim) throws Exception {
    long pid = workers.get(victim).pid();
    assertThat(workers.get(victim).destroyForcibly()).isTrue();
    Command.Outcome outcome = job.await();
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(70);
    assertThat(outcome.error()).contains("rank " + victim + "/" + workers.size(), "pid " + pid);
    assertThat(workers).noneMatch(ProcessHandle::isAlive);
    return outcome;
  }

  /** A job whose rank 1 is stopped, and when it ended. */
  private record Stopped(
      String transport,
      Command.Started job,
      List<ProcessHandle> workers,
      long start,
      CompletableFuture<Long> end) {}

  /** Over each transport; the seconds of one job pass while the next one starts. */
  @Test
  void aRankThatIsStoppedIsNamedWithinTenSeconds() throws Exception {
    List<Command.Started> jobs = new ArrayList<>();
    try {
      List<Stopped> all =
          List.of(
              stopRankOne("shm", 2, jobs),
              stopRankOne("grpc", 2, jobs),
              stopRankOne("tcp", 3, jobs));
      for (Stopped stopped : all) {
        Command.Outcome outcome = stopped.job().await();
        String what = stopped.transport() + ": " + outcome.error();
        // 10 s until it is known; then the others' words (1 s) and the end of a process that does
        // not listen (2 s) on a busy host.
        assertThat(stopped.end().get(1, TimeUnit.SECONDS) - stopped.start())
            .as(what)
            .isLessThan(TimeUnit.SECONDS.toNanos(14));
        assertThat(outcome.status()).as(what).isEqualTo(70);
        assertThat(outcome.error()).as(what).contains("rank 1 has given no sign of life");
        assertThat(stopped.workers()).as(what).noneMatch(ProcessHandle::isAlive);
      }
    } finally {
      jobs.forEach(Command.Started::close);
    }
  }

  /** The others have not met it and know nothing of it. */
  @Test
  void aWorkerThatIsStoppedBeforeItJoinsIsNamedLongBeforeTheTimeOut() throws Exception {
    try (Command.Started job =
        start("1.0e-3", "--workers", "2", "--set", "communication.timeout_s=600")) {
      List<ProcessHandle> workers = job.workers(2);
      signal(workers.get(1), "STOP");
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(70);
      assertThat(outcome.error())
          .contains("rank 1/2 ", "pid " + workers.get(1).pid(), "has been stopped (SIGSTOP");
      assertThat(workers).noneMatch(ProcessHandle::isAlive);
    }
  }

  private Stopped stopRankOne(String transport, int ranks, List<Command.Started> jobs)
      throws Exception {
    Command.Started job =
        start(
            "1.0e-3",
            "--workers",
            Integer.toString(ranks),
            "--set",
            "communication.transport=" + transport,
            "--set",
            "checkpoint.dir=" + transport,
            "--set",
            "log.report=" + transport + ".json");
    jobs.add(job);
    List<ProcessHandle> workers = workers(job, ranks);
    CompletableFuture<Long> end = job.handle().onExit().thenApply(process -> System.nanoTime());
    long start = System.nanoTime();
    signal(workers.get(1), "STOP");
    return new Stopped(transport, job, workers, start, end);
  }

  @ParameterizedTest
  @ValueSource(strings = {"processes", "threads"})
  void workersNoticeWithinTwoSecondsThatTheLauncherIsKilled(String ranksAre) throws Exception {
    boolean isInProcess = ranksAre.equals("threads");
    try (Command.Started job =
        start("1.0e-3", isInProcess ? "--in-process" : "--json", "--workers", "2")) {
      List<ProcessHandle> workers = workers(job, isInProcess ? 1 : 2);
      requireNoneLeftWhenTheLauncherIsKilled(job, workers);
    }
  }

  /** The kernel wakes it. */
  @Test
  void aWorkerThatIsStoppedWhenTheLauncherIsKilledDoesNotStayBehind() throws Exception {
    assumeThat(Path.of("/usr/bin/setpriv")).exists();
    try (Command.Started job = start("1.0e-3", "--workers", "2")) {
      List<ProcessHandle> workers = workers(job, 2);
      signal(workers.get(1), "STOP");
      requireNoneLeftWhenTheLauncherIsKilled(job, workers);
    }
  }

  private static void requireNoneLeftWhenTheLauncherIsKilled(
      Command.Started job, List<ProcessHandle> workers) throws IOException {
    assertThat(job.handle().destroyForcibly()).isTrue();
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(2);
    for (ProcessHandle worker : workers) {
      while (runs(worker)) {
        assertThat(System.nanoTime()).as("worker %d still runs", worker.pid()).isLessThan(end);
        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(10));
      }
    }
  }

  @Sample(2)
  @ParameterizedTest
  @CsvSource({"INT, 130", "TERM, 80"})
  void aSignalStopsAfterTheStepAndTheJobCanGoOn(String signal, int status) throws Exception {
    try (Command.Started job = start("1.0e-3", "--workers", "2")) {
      List<ProcessHandle> workers = workers(job, 2);
      signal(job.handle(), signal);
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(status);
      assertThat(workers).noneMatch(ProcessHandle::isAlive);
    }
    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(report.path("result").asText()).isEqualTo("stopped");
    int done = report.path("steps").size();
    Command.Outcome rest =
        Command.in(folder)
            .run(
                "train",
                "plan.yaml",
                "--quiet",
                "--workers",
                "2",
                "--resume",
                "--set",
                "steps=" + (done + 2));
    assertThat(rest.status()).as(rest.error()).isEqualTo(0);
    JsonNode more = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(more.path("steps").path(0).path("step").intValue()).isEqualTo(done + 1);
  }

  /** As schedulers and service managers do. */
  @Test
  void aSignalToEveryProcessStopsTheJobAsOneToTheLauncherDoes() throws Exception {
    requireStoppedBy("TERM", 1);
  }

  /** It tells every process, and a shell may tell the launcher once more. */
  @Test
  void aTerminalThatClosesStopsTheJobToo() throws Exception {
    requireStoppedBy("HUP", 2);
  }

  private void requireStoppedBy(String signal, int timesToTheLauncher) throws Exception {
    try (Command.Started job = start("1.0e-3", "--workers", "2")) {
      List<ProcessHandle> workers = workers(job, 2);
      signal(workers, signal);
      signal(Collections.nCopies(timesToTheLauncher, job.handle()), signal);
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(80);
      assertThat(workers).noneMatch(ProcessHandle::isAlive);
    }
    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(report.path("result").asText()).isEqualTo("stopped");
    String step = "step-%06d".formatted(report.path("steps").size());
    assertThat(folder.resolve("checkpoints").resolve(step)).isDirectory();
  }

  /** A host that is drained, or an impatient operator. */
  @Test
  void aSignalToOneWorkerStopsTheJobAndSavesACheckpoint() throws Exception {
    try (Command.Started job = start("1.0e-3", "--workers", "2")) {
      signal(workers(job, 2).get(1), "TERM");
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(80);
    }
    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(report.path("result").asText()).isEqualTo("stopped");
    String step = "step-%06d".formatted(report.path("steps").size());
    assertThat(folder.resolve("checkpoints").resolve(step)).isDirectory();
  }

  @Sample(1)
  @ParameterizedTest
  @CsvSource({"INT, 130", "TERM, 80", "HUP, 80"})
  void aSignalWhileTextIsEncodedLeavesNothingOfIt(String signal, int status) throws Exception {
    Files.writeString(folder.resolve("text.txt"), "All happy families are alike. ".repeat(4 << 20));
    String data = "data: {kind: text, path: text.txt, tokenizer: gpt2}";
    String model = "vocab: 50257";
    Files.writeString(
        folder.resolve(writePlan("1.0e-3")),
        ENDLESS
            .formatted("1.0e-3")
            .replace("data: {kind: reference}", data)
            .replace("vocab: 256", model));
    try (Command.Started job =
        Command.in(folder).by(HEARING_INTERRUPTS).start("train", "plan.yaml", "--workers", "1")) {
      job.awaitErrorLine(line -> line.contains("Encoding text"));
      signal(job.handle(), signal);
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(status);
      assertThat(outcome.error().lines().filter(line -> line.startsWith("phalanx: "))).hasSize(1);
    }
    try (Stream<Path> left = Files.list(folder.resolve("runs/.token-cache"))) {
      assertThat(left).allMatch(file -> file.toString().endsWith(".lock"));
    }
  }

  @Test
  void aSecondSignalEndsAtOnceAndLeavesNothing() throws Exception {
    // A step of this plan takes minutes: the first signal alone would wait for it.
    try (Command.Started job =
        Command.in(folder)
            .by(HEARING_INTERRUPTS)
            .start(
                "train",
                writePlan("1.0e-3"),
                "--workers",
                "2",
                "--set",
                "batch.global=2000000",
                "--set",
                "batch.micro=1000",
                "--json")) {
      job.awaitErrorLine(line -> line.contains("2 ranks"));
      List<ProcessHandle> workers = job.workers(2);
      signal(job.handle(), "INT");
      job.awaitErrorLine(line -> line.contains("Ctrl-C again"));
      signal(job.handle(), "INT");
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(130);
      assertThat(workers).noneMatch(ProcessHandle::isAlive);
      ObjectMapper json = new ObjectMapper();
      assertThat(json.readTree(outcome.output()).path("result").asText()).isEqualTo("failed");
      assertThat(json.readTree(folder.resolve("report.json").toFile()).path("result").asText())
          .isEqualTo("failed");
    }
  }

  @Test
  void aLossThatIsNoNumberStopsTheJob() throws Exception {
    try (Command.Started job = start("1.0e30", "--workers", "2")) {
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(78);
      assertThat(outcome.error()).contains("step").doesNotContain("\tat ");
    }
  }

  @Test
  void aStoppedPeerIsNamedWhenTheDeadlinePasses() throws Exception {
    try (Command.Started job =
        start("1.0e-3", "--workers", "2", "--set", "communication.timeout_s=3")) {
      List<ProcessHandle> workers = workers(job, 2);
      signal(workers.get(1), "STOP");
      Command.Outcome outcome = job.await();
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(72);
      assertThat(outcome.error()).contains("rank 1");
      assertThat(workers).noneMatch(ProcessHandle::isAlive);
    }
  }

  private Command.Started start(String learningRate, String... options) throws IOException {
    String[] arguments = new String[options.length + 2];
    arguments[0] = "train";
    arguments[1] = writePlan(learningRate);
    System.arraycopy(options, 0, arguments, 2, options.length);
    return Command.in(folder).by(HEARING_INTERRUPTS).start(arguments);
  }

  private String writePlan(String learningRate) throws IOException {
    Files.writeString(folder.resolve("plan.yaml"), ENDLESS.formatted(learningRate));
    return "plan.yaml";
  }

  /** The worker processes by rank, once steps are done. */
  private static List<ProcessHandle> workers(Command.Started job, int count)
      throws InterruptedException {
    job.awaitErrorLine(line -> line.contains("step 3/"));
    return job.workers(count);
  }

  /**
   * Whether a process that is nobody's child any more runs. The dead may stay in the table of
   * processes for a while, with an empty memory; nothing tells of their end but asking again.
   */
  private static boolean runs(ProcessHandle process) throws IOException {
    Path commandLine = Path.of("/proc", Long.toString(process.pid()), "cmdline");
    try {
      return Files.readAllBytes(commandLine).length > 0;
    } catch (NoSuchFileException e) {
      return false;
    }
  }

  private static void signal(ProcessHandle process, String signal)
      throws IOException, InterruptedException {
    signal(List.of(process), signal);
  }

  private static void signal(List<ProcessHandle> processes, String signal)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("kill", "-" + signal));
    processes.forEach(process -> command.add(Long.toString(process.pid())));
    assertThat(new ProcessBuilder(command).start().waitFor()).isZero();
  }
}
