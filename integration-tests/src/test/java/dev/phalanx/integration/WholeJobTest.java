package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Engines;
import dev.phalanx.trainer.StepRecord;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import java.util.function.BooleanSupplier;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What a user does with the commands one after the other, and what a job promises as a whole. */
@Timeout(300)
final class WholeJobTest {
  private static final String SMALL =
      """
      model: {family: llama, layers: 2, hidden: 32, heads: 4, kv_heads: 2, sequence: 16}
      batch: {global: 8, micro: 2}
      optimizer: {kind: adamw, lr: 3.0e-3}
      threads: 1
      log: {report: report.json}
      """;

  @TempDir private Path folder = Path.of("");

  /** As its comment says to, from the folder that it lies in; fewer steps. */
  @Test
  void thePlanOfThreeDimensionsRunsInOneProcess() throws Exception {
    trainThreeDimensions("--in-process");
  }

  @Tag("long")
  @Test
  void thePlanOfThreeDimensionsRunsInEightProcesses() throws Exception {
    trainThreeDimensions();
  }

  private void trainThreeDimensions(String... more) throws Exception {
    Path report = folder.resolve("report.json").toAbsolutePath();
    List<String> command =
        new ArrayList<>(
            List.of("train", "configs/three-dimensions.yaml", "--quiet", "--set", "steps=3"));
    command.addAll(List.of("--set", "log.report=" + report));
    command.addAll(List.of(more));
    Command.Outcome outcome = Command.in(Path.of("..")).run(command.toArray(String[]::new));
    assertThat(outcome.status()).as(outcome.error()).isZero();
    JsonNode found = new ObjectMapper().readTree(report.toFile());
    assertThat(found.path("ranks")).hasSize(8);
    for (String axis : List.of("tensor", "pipeline", "data")) {
      assertThat(found.path("mesh").path(axis).intValue()).isEqualTo(2);
    }
    assertThat(found.path("steps")).hasSize(3);
    assertThat(found.at("/steps/2/loss").doubleValue()).isPositive();
  }

  @Test
  void textIsPreparedTrainedOnAndGoneOnWith() throws Exception {
    writeText();
    run("data", "prepare", "text.txt", "--output", "text.tokens", "--quiet");
    Files.writeString(
        folder.resolve("plan.yaml"),
        SMALL
            + """
            data: {kind: tokens, path: text.tokens}
            steps: 8
            checkpoint: {dir: saved}
            """);
    JsonNode result = json(run("train", "plan.yaml", "--workers", "2", "--quiet", "--json"));
    assertThat(result.path("status").intValue()).isZero();
    assertThat(result.path("result").asText()).isEqualTo("completed");
    assertThat(json(run("checkpoint", "inspect", "saved", "--json")).path("step").intValue())
        .isEqualTo(8);
    run("checkpoint", "verify", "saved");

    JsonNode first = generate("--prompt", "The sea", "--seed", "3");
    assertThat(first.path("tokens")).hasSize(12);
    assertThat(first.path("text").isTextual()).isTrue();
    assertThat(generate("--prompt", "The sea", "--seed", "3")).isEqualTo(first);
    // Longer than the model's sequence: it reads the end of what there is.
    assertThat(generate("--prompt", "The sea is a long way down from here", "--greedy"))
        .isEqualTo(generate("--prompt", "The sea is a long way down from here", "--greedy"));
  }

  private JsonNode generate(String... options) throws Exception {
    List<String> command =
        new ArrayList<>(List.of("generate", "--checkpoint", "saved", "--max-tokens", "12"));
    command.addAll(List.of(options));
    command.add("--json");
    return json(run(command.toArray(String[]::new)));
  }

  @Test
  void theReportHoldsWhatToolsRead() throws Exception {
    Files.writeString(
        folder.resolve("plan.yaml"), SMALL + "data: {kind: reference}\nsteps: 3\nname: told\n");
    run("train", "plan.yaml", "--workers", "2", "--quiet");
    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(report.path("name").asText()).isEqualTo("told");
    assertThat(report.path("engine").asText()).isEqualTo("torch");
    assertThat(report.path("mesh").path("data").intValue()).isEqualTo(2);
    assertThat(report.path("mesh").path("tensor").intValue()).isEqualTo(1);
    assertThat(report.path("steps")).hasSize(3);
    for (JsonNode step : report.path("steps")) {
      assertThat(step.path("tokens").intValue()).isEqualTo(8 * 16);
      assertThat(step.path("lr").doubleValue()).isEqualTo(3.0e-3);
      assertThat(step.path("step_ms").doubleValue()).isPositive();
      assertThat(step.path("tokens_per_second").doubleValue()).isPositive();
    }
    assertThat(report.path("ranks")).hasSize(2);
    for (JsonNode rank : report.path("ranks")) {
      long gradients = rank.path("gradient_bytes").longValue();
      assertThat(rank.path("parameter_bytes").longValue()).isEqualTo(gradients);
      assertThat(rank.path("optimizer_bytes").longValue()).isGreaterThanOrEqualTo(2 * gradients);
      assertThat(rank.path("peak_rss_bytes").longValue()).isGreaterThan(50L << 20);
      assertThat(rank.path("peak_activation_bytes").longValue()).isPositive();
      // A ring of n ranks sends 2 (n - 1) / n of the gradients in a step; losses and numbers of
      // the report come on top.
      long sent = rank.path("bytes_sent").path("data").longValue();
      assertThat(sent).isBetween(3 * gradients, 3 * gradients + 4096);
      assertThat(rank.path("messages_sent").path("data").longValue()).isPositive();
      for (String key : List.of("compute_ms", "exposed_communication_ms", "idle_ms")) {
        assertThat(rank.path(key).isNumber()).as(key).isTrue();
      }
    }
  }

  /** Rank 1 says what its passes lost so much later than rank 0, which then waits in every step. */
  @Test
  void theReportTellsWaitsInStepsFromComputation() throws Exception {
    writeText();
    int steps = 5;
    long lateNanos = 100_000_000;
    String plan =
        SMALL
            + """
            data: {kind: text, path: text.txt}
            steps: %d
            sharding: {zero: 3}
            evaluation: {every: 1, batches: 20, fraction: 0.5}
            """
                .formatted(steps);
    Semaphore firstIsThere = new Semaphore(0);
    BooleanSupplier first =
        () -> {
          firstIsThere.release();
          return false;
        };
    BooleanSupplier second =
        () -> {
          firstIsThere.acquireUninterruptibly();
          computeFor(lateNanos);
          return false;
        };
    InProcessJob.Run run =
        InProcessJob.run(
            plan, 2, folder, Optional.empty(), Engines::open, rank -> rank == 0 ? first : second);

    JsonNode ranks =
        new ObjectMapper().readTree(folder.resolve("report.json").toFile()).path("ranks");
    double lateMillis = steps * lateNanos / 1e6;
    double stepMillis = run.steps().stream().mapToDouble(StepRecord::stepMillis).sum();
    for (JsonNode rank : ranks) {
      assertThat(rank.path("compute_ms").doubleValue()).isNotNegative();
    }
    double exposed = ranks.path(0).path("exposed_communication_ms").doubleValue();
    assertThat(exposed).isBetween(0.7 * lateMillis, stepMillis);
    assertThat(exposed + ranks.path(0).path("compute_ms").doubleValue())
        .isCloseTo(stepMillis, withinPercentage(1e-6));
    assertThat(ranks.path(1).path("compute_ms").doubleValue()).isGreaterThan(lateMillis);
  }

  private static void computeFor(long nanos) {
    long start = System.nanoTime();
    while (System.nanoTime() - start < nanos) {
      Thread.onSpinWait();
    }
  }

  @Test
  void heldOutDataGivesTheSameLossInEveryLayout() throws Exception {
    writeText();
    Files.writeString(
        folder.resolve("plan.yaml"),
        SMALL
            + """
            data: {kind: text, path: text.txt}
            steps: 4
            evaluation: {every: 2, batches: 2, fraction: 0.2}
            """);
    List<JsonNode> evaluations = new ArrayList<>();
    for (String ranks : List.of("1", "2", "4")) {
      run("train", "plan.yaml", "--workers", ranks, "--quiet", "--in-process");
      evaluations.add(
          new ObjectMapper().readTree(folder.resolve("report.json").toFile()).path("evaluations"));
    }
    for (JsonNode found : evaluations) {
      assertThat(found).hasSize(2);
      for (int i = 0; i < 2; i++) {
        JsonNode expected = evaluations.get(0).path(i);
        assertThat(found.path(i).path("tokens")).isEqualTo(expected.path("tokens"));
        // fp32 sums in another order, over a loss of about 5
        assertThat(found.path(i).path("loss").doubleValue())
            .isCloseTo(expected.path("loss").doubleValue(), within(1e-5));
      }
    }
  }

  @Test
  void bf16FollowsTheCurveOfFp32AndKeepsItsMasterWeights() throws Exception {
    List<StepRecord> narrow = steps("precision: bf16\ncheckpoint: {dir: saved}\n");
    List<StepRecord> wide = steps("");
    for (int step = 0; step < wide.size(); step++) {
      // bf16 has 8 bits of mantissa: activations are off by up to 0.4 %, and so is a loss of 5.6.
      assertThat(narrow.get(step).loss())
          .as("loss of step %d", step)
          .isCloseTo(wide.get(step).loss(), within(0.004 * wide.get(step).loss()));
    }
    assertThat(narrow.get(19).loss()).isNotEqualTo(wide.get(19).loss());
    String tensors = run("checkpoint", "inspect", "saved");
    assertThat(tensors).contains("h.0.qkv.weight F32").doesNotContain("BF16");
  }

  private List<StepRecord> steps(String more) throws Exception {
    String plan = Reference.plan(Reference.Curve.CLIP_COSINE, 20, 4, more);
    return InProcessJob.run(plan, 2, folder, Optional.empty()).steps();
  }

  /** Neither in arguments nor in the environment, of no process. */
  @Test
  void theTokenOfTheJobIsNowhereToBeRead() throws Exception {
    try (Command.Started job = startEndless("64")) {
      job.awaitErrorLine(line -> line.contains("step 100/"));
      List<ProcessHandle> processes =
          Stream.concat(Stream.of(job.handle()), job.handle().descendants()).toList();
      assertThat(processes).hasSize(3);
      Pattern secret = Pattern.compile("[0-9a-fA-F]{64}"); // 256 bits
      for (ProcessHandle process : processes) {
        for (String file : List.of("cmdline", "environ")) {
          Path path = Path.of("/proc", Long.toString(process.pid()), file);
          String text = new String(Files.readAllBytes(path), StandardCharsets.ISO_8859_1);
          assertThat(text).isNotEmpty();
          assertThat(secret.matcher(text).find()).as("%s of %d", file, process.pid()).isFalse();
        }
      }
    }
  }

  /**
   * Nothing native is left to the garbage collector, so a leak of one small tensor in a step would
   * show: a step makes hundreds. 100 checkpoints and 40 evaluations lie in between.
   */
  @Test
  @Tag("long")
  void residentMemoryIsFlatOverThousandsOfSteps() throws Exception {
    try (Command.Started job = startEndless("32")) {
      job.awaitErrorLine(line -> line.contains("step 1000/"));
      List<ProcessHandle> workers = job.workers(2);
      List<Long> before = new ArrayList<>();
      for (ProcessHandle worker : workers) {
        before.add(residentKibibytes(worker));
      }
      job.awaitErrorLine(line -> line.contains("step 3000/"));
      for (int i = 0; i < workers.size(); i++) {
        // What the JVM itself still compiles and profiles; 2000 steps times 1 KiB would be over it.
        assertThat(residentKibibytes(workers.get(i)) - before.get(i)).isLessThan(2000);
      }
    }
  }

  /**
   * A heap of fixed size, all of it in memory from the start, and the compiler that is done
   * soonest.
   */
  private Command.Started startEndless(String heapMebibytes) throws IOException {
    writeText();
    Files.writeString(
        folder.resolve("plan.yaml"),
        SMALL.replace("report: report.json", "every: 100, report: report.json")
            + """
            data: {kind: text, path: text.txt}
            steps: 1000000
            checkpoint: {dir: saved, every: 20, keep: 1}
            evaluation: {every: 50, batches: 1}
            """);
    return Command.in(folder)
        .with(
            "PHALANX_WORKER_JAVA_OPTIONS",
            "-Xms%1$sm -Xmx%1$sm -XX:+AlwaysPreTouch -XX:TieredStopAtLevel=1"
                .formatted(heapMebibytes))
        .start("train", "plan.yaml", "--workers", "2");
  }

  private static long residentKibibytes(ProcessHandle process) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc", process.pid() + "", "status"))) {
      if (line.startsWith("VmRSS:")) {
        return Long.parseLong(line.replaceAll("[^0-9]", ""));
      }
    }
    throw new IOException("process " + process.pid() + " has no resident memory");
  }

  private void writeText() throws IOException {
    StringBuilder text = new StringBuilder();
    for (int line = 0; line < 400; line++) {
      text.append("The sea, line ").append(line * 7919 % 1000).append(", rolled on as before.\n");
    }
    Files.writeString(folder.resolve("text.txt"), text);
  }

  private String run(String... arguments) throws Exception {
    Command.Outcome outcome = Command.in(folder).run(arguments);
    assertThat(outcome.status()).as(outcome.error()).isZero();
    return outcome.output();
  }

  private static JsonNode json(String text) throws IOException {
    return new ObjectMapper().readTree(text);
  }
}
