package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Sample;
import dev.phalanx.trainer.JobPlan;
import dev.phalanx.trainer.PlanCheck;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.JobConfigValidator;
import dev.phalanx.trainer.config.ParsedPlan;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.assertj.core.data.Offset;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What {@code phalanx plan} says, and what a run of the same plan then counts. */
@Timeout(120)
final class PlanTest {
  @TempDir private Path folder = Path.of("");

  private static String plan(String family, int layers, int steps, int micro, String more) {
    return """
    model: {family: %s, layers: %d, hidden: 48, heads: 4, sequence: 24, vocab: 250, dropout: 0.1%s
    data: {kind: reference}
    batch: {global: 12, micro: %d, uneven: true}
    optimizer: {kind: adamw, lr: 1.0e-3, clip_grad_norm: 1.0}
    steps: %d
    log: {report: report.json}
    """
        .formatted(family, layers, more, micro, steps);
  }

  @Sample(4)
  @ParameterizedTest(name = "{0}, {1} ranks, micro-batches of {2}, {3}")
  @CsvSource(
      delimiter = '|',
      value = {
        "gpt2  | 2 | 3 | }",
        "gpt2  | 2 | 3 | };precision: bf16",
        "gpt2  | 4 | 1 | };sharding: {zero: 2};precision: bf16",
        "gpt2  | 4 | 3 | };sharding: {zero: 2, shard_size: 2}",
        "llama | 4 | 2 | , kv_heads: 1};parallel: {tensor: 2, sequence_parallel: true}",
        "gpt2  | 1 | 5 | }",
        "llama | 5 | 3 | };sharding: {zero: 3}",
        "gpt2  | 3 | 1 | };parallel: {pipeline: 3, schedule: zb-h1}",
        "llama | 4 | 1 | };parallel: {pipeline: 2};sharding: {zero: 3}",
        "llama | 6 | 2 | , kv_heads: 2};parallel: {context: 3, data: 2};sharding: {zero: 3}",
        "gpt2  | 4 | 2 | , experts: {count: 4, top_k: 1}};parallel: {tensor: 2};sharding: {zero:"
            + " 1}",
        "llama | 4 | 2 | , recompute: full, experts: {count: 2}};parallel: {expert: 2, context: 2}",
        "gpt2  | 2 | 3 | };sharding: {zero: 3};optimizer: lamb",
        "llama | 4 | 3 | , kv_heads: 1};parallel: {tensor: 2};sharding: {zero: 3};optimizer: lamb",
        "gpt2  | 8 | 1 | };parallel: {tensor: 2, pipeline: 2};sharding: {zero: 1};optimizer: muon",
        "gpt2  | 1 | 4 | }",
        "gpt2  | 3 | 1 | , recompute: full}",
        "llama | 2 | 2 | , kv_heads: 2, tied_embeddings: false}",
        "gpt2  | 3 | 2 | };precision: fp16",
        "gpt2  | 3 | 2 | };sharding: {zero: 1}",
        "llama | 3 | 2 | };sharding: {zero: 3}",
        "gpt2  | 4 | 3 | };sharding: {zero: 3, reshard_after_forward: false}",
        "gpt2  | 2 | 3 | };sharding: {zero: 1, offload: cpu}",
        "gpt2  | 2 | 4 | };parallel: {tensor: 2}",
        "gpt2  | 4 | 3 | , recompute: full};parallel: {tensor: 2};sharding: {zero: 3}",
        "gpt2  | 2 | 2 | };parallel: {pipeline: 2}",
        "gpt2  | 5 | 1 | }",
        "gpt2  | 5 | 2 | };sharding: {zero: 2}",
        "gpt2  | 10 | 1 | };parallel: {pipeline: 2};sharding: {zero: 1}",
        "llama | 10 | 2 | };parallel: {tensor: 2, sequence_parallel: true}",
        "llama | 2 | 2 | };parallel: {pipeline: 2, schedule: gpipe}",
        "gpt2  | 8 | 1 | };parallel: {tensor: 2, pipeline: 2};sharding: {zero: 1}",
        "gpt2  | 8 | 3 | };parallel: {tensor: 4, sequence_parallel: true};sharding: {zero: 1}",
        "gpt2  | 2 | 4 | };parallel: {context: 2}",
        "llama | 4 | 2 | , recompute: full};parallel: {context: 2, tensor: 2};precision: bf16",
        "llama | 1 | 3 | , experts: {count: 4}}",
        // each token goes to all experts, so that what is sent does not depend on the tokens
        "llama | 2 | 2 | , experts: {count: 2, top_k: 2}};parallel: {expert: 2}",
        "gpt2  | 8 | 1 | , experts: {count: 2}};parallel: {expert: 2, tensor: 2};sharding: {zero:"
            + " 3}",
        "gpt2  | 4 | 2 | , experts: {count: 2}};parallel: {expert: 2, pipeline: 2}",
        "llama | 4 | 2 | , experts: {count: 2}};parallel: {expert: 2, tensor: 2};optimizer: muon",
        "gpt2  | 3 | 2 | };sharding: {zero: 1};optimizer: muon",
        "gpt2  | 4 | 3 | };parallel: {tensor: 4};optimizer: lamb",
        "gpt2  | 4 | 4 | };parallel: {tensor: 4, sequence_parallel: true};optimizer: muon",
        "llama | 8 | 3 | , kv_heads: 2};parallel: {tensor: 4};sharding: {zero: 3};optimizer: muon",
      })
  void aRunHoldsAndSendsWhatWasPredicted(String family, int ranks, int micro, String more)
      throws Exception {
    String[] keys = more.split(";optimizer: ");
    String rest =
        keys[0].replace(';', '\n') + "\ncommunication: {algorithm: ring, bucket_mb: 0.05}";
    int layers = more.contains("pipeline") ? 9 : 3;
    String plan = plan(family, layers, 5, micro, rest);
    requirePredicted(keys.length == 1 ? plan : plan.replace("adamw", keys[1]), ranks);
  }

  /** A gradient of 1.2 MB travels in pieces. */
  @Test
  void largeTensorsTravelInSoManyPieces() throws Exception {
    String large = plan("gpt2", 1, 5, 3, "}\ncommunication: {algorithm: ring}");
    requirePredicted(large.replace("vocab: 250", "vocab: 6007"), 2);
  }

  private void requirePredicted(String plan, int ranks) throws Exception {
    InProcessJob.run(plan, ranks, folder, Optional.empty());
    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    ParsedPlan parsed = JobConfigParser.parse("plan.yaml", plan);
    JobConfigValidator.validate(parsed, ranks);
    JobPlan predicted = JobPlan.of(parsed, folder, ranks);
    PlanCheck check = PlanCheck.of(predicted, parsed.config(), report);

    assertThat(predicted.ranks()).hasSize(ranks);
    assertThat(check.figures()).hasSizeGreaterThanOrEqualTo(4 * ranks);
    assertThat(check.figures()).allMatch(PlanCheck.Figure::isJudged);
    // What is sent is freed when it has left, which is not at the same time in each run.
    assertThat(check.figures())
        .allMatch(
            plan.contains("pipeline")
                ? PlanCheck.Figure::agrees
                : figure -> figure.measured() == figure.predicted());
  }

  @Test
  void theCommandPrintsItInFixedWords() throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan("gpt2", 3, 1, 3, "}"));
    Command.Outcome outcome =
        Command.in(folder)
            .run("plan", "plan.yaml", "--workers", "2", "--set", "sharding.zero=3", "--json");

    assertThat(outcome.status()).as(outcome.error()).isZero();
    JsonNode found = new ObjectMapper().readTree(outcome.output());
    long parameters = 250 * 48 + 24 * 48 + 3 * (12 * 48 * 48 + 13 * 48) + 2 * 48;
    assertThat(found.path("parameters").longValue()).isEqualTo(parameters);
    assertThat(found.path("world_size").intValue()).isEqualTo(2);
    assertThat(found.path("mesh").path("data").intValue()).isEqualTo(2);
    assertThat(found.path("mesh").path("tensor").intValue()).isEqualTo(1);
    assertThat(found.path("groups").path("data").toString()).isEqualTo("[[0,1]]");
    assertThat(found.path("ranks")).hasSize(2);
    JsonNode rank = found.path("ranks").path(1);
    assertThat(rank.path("rank").intValue()).isEqualTo(1);
    assertThat(rank.path("coordinates").path("data").intValue()).isEqualTo(1);
    assertThat(rank.path("layers").toString()).isEqualTo("[0,1,2]");
    assertThat(rank.path("weight_bytes").longValue()).isEqualTo(2 * parameters);
    assertThat(rank.path("optimizer_bytes").longValue()).isEqualTo(4 * parameters);
    assertThat(rank.path("activation_bytes").longValue()).isPositive();
    assertThat(found.path("communication").findValuesAsText("operation"))
        .contains("all_gather", "reduce_scatter");
    assertThat(found.path("pipeline").path("micro_batches").intValue()).isEqualTo(2);
    assertThat(found.path("flops_per_step").doubleValue()).isPositive();
    assertThat(folder.resolve("report.json")).doesNotExist();
  }

  @Test
  void theTableNamesEveryRankAndAMistakeIsToldAsTrainDoes() throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan("gpt2", 3, 1, 3, "}"));
    Command.Outcome table = Command.in(folder).run("plan", "plan.yaml", "--workers", "2");
    assertThat(table.status()).as(table.error()).isZero();
    assertThat(table.output())
        .contains("data groups: [0 1]", "weights", "optimizer", "\n0 ", "\n1 ", "all_reduce");

    Command.Outcome mistake =
        Command.in(folder).run("plan", "plan.yaml", "--workers", "13", "--set", "sharding.zerro=1");
    assertThat(mistake.status()).isEqualTo(64);
    assertThat(mistake.output()).isEmpty();
    assertThat(mistake.error()).contains("sharding.zerro", "zero", "batch");
  }

  /** Between processes, over memory that they share. */
  @Test
  void aRunIsCheckedAgainstItsPlan() throws Exception {
    String plan = plan("gpt2", 3, 3, 3, "}\ncommunication: {algorithm: ring}");
    Files.writeString(folder.resolve("plan.yaml"), plan + "parallel: {tensor: 2}\n");
    Command.Outcome run = Command.in(folder).run("train", "plan.yaml", "--workers", "4", "--quiet");
    assertThat(run.status()).as(run.error()).isZero();

    Command.Outcome check = check();
    assertThat(check.status()).as(check.output() + check.error()).isZero();
    assertThat(check.output())
        .contains("optimizer_bytes", "bytes_sent.tensor", "messages_sent.data", "1.0000")
        .doesNotContain("differs", "not judged")
        .endsWith("The run was as predicted.\n");
    Command.Outcome json = check("--json", "--set", "optimizer.kind=sgd");
    assertThat(json.status()).isEqualTo(70);
    assertThat(json.error()).contains("not as predicted, first optimizer_bytes of rank 0");
    JsonNode found = new ObjectMapper().readTree(json.output());
    assertThat(found.path("agrees").booleanValue()).isFalse();
    assertThat(found.path("figures").findValuesAsText("rank")).contains("0", "3");

    Command.Outcome other = check("--set", "parallel.tensor=4");
    assertThat(other.status()).isEqualTo(64);
    assertThat(other.error()).contains("run with tensor 2, and the plan has tensor 4", "--set");
    Command.Outcome auto = check("--set", "communication.algorithm=auto");
    assertThat(auto.status()).as(auto.error()).isZero();
    assertThat(auto.output()).contains("not judged", "algorithm ring, and the run had auto");
    Files.writeString(folder.resolve("report.json"), "{}");
    Command.Outcome empty = check();
    assertThat(empty.status()).isEqualTo(64);
    assertThat(empty.error()).contains("report.json has no world_size and ranks");
  }

  private Command.Outcome check(String... more) throws Exception {
    List<String> command = new ArrayList<>(List.of("plan", "plan.yaml", "--check", "report.json"));
    command.addAll(List.of(more));
    return Command.in(folder).run(command.toArray(String[]::new));
  }

  private static final String CLUSTER =
      """
      devices_per_host: 2
      device: {peak_tflops: 1, efficiency: 0.5, memory_gib: %s, memory_gb_per_s: 100}
      links: {within_host: {gbit_per_s: 100}, between_hosts: {gbit_per_s: 1}}
      """;

  @Test
  void aDescribedClusterGivesTheTimeOfAStep() throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan("gpt2", 4, 1, 3, "}"));
    Files.writeString(folder.resolve("cluster.yaml"), CLUSTER.formatted("8"));
    JsonNode found = timed();
    double compute = found.path("flops_per_step").doubleValue() / 2 / 0.5e12;
    assertThat(found.path("passes_seconds").doubleValue())
        .isCloseTo(compute, Offset.offset(1e-9 * compute));
    double parts =
        found.path("passes_seconds").doubleValue()
            + found.path("exposed_data_seconds").doubleValue()
            + found.path("update_seconds").doubleValue();
    double seconds = found.path("step_seconds").doubleValue();
    assertThat(seconds).isCloseTo(parts, Offset.offset(1e-12));
    assertThat(found.path("tokens_per_second").doubleValue())
        .isCloseTo(12 * 24 / seconds, Offset.offset(1e-6));
    assertThat(found.path("fits").booleanValue()).isTrue();
  }

  /** A cluster's file that does not know the plan's precision is no mistake, but is told of. */
  @Test
  void timesAreThoseOfThePlansPrecision() throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan("gpt2", 4, 1, 3, "}"));
    Files.writeString(folder.resolve("cluster.yaml"), CLUSTER.formatted("8"));
    JsonNode asBf16 = timed();
    assertThat(asBf16.path("timed_as_precision").asText()).isEqualTo("bf16");
    Command.Outcome told =
        Command.in(folder).run("plan", "plan.yaml", "--workers", "2", "--cluster", "cluster.yaml");
    assertThat(told.output()).contains("at the rate of bf16", "peak_tflops_fp32");

    Files.writeString(
        folder.resolve("cluster.yaml"),
        CLUSTER.formatted("8").replace("efficiency", "peak_tflops_fp32: 0.25, efficiency"));
    JsonNode asFp32 = timed();
    assertThat(asFp32.path("timed_as_precision").asText()).isEqualTo("fp32");
    double seconds = asBf16.path("passes_seconds").doubleValue();
    assertThat(asFp32.path("passes_seconds").doubleValue())
        .isCloseTo(4 * seconds, Offset.offset(1e-9 * seconds));
  }

  private JsonNode timed() throws Exception {
    Command.Outcome outcome =
        Command.in(folder)
            .run("plan", "plan.yaml", "--workers", "2", "--cluster", "cluster.yaml", "--json");
    assertThat(outcome.status()).as(outcome.error()).isZero();
    return new ObjectMapper().readTree(outcome.output());
  }

  @Test
  void theSearchProposesWhatFitsAndItsProposalsAreWhatPlanSays() throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan("gpt2", 4, 1, 3, "}"));
    Files.writeString(folder.resolve("cluster.yaml"), CLUSTER.formatted("0.004"));
    JsonNode found = search("8");
    assertThat(found.path("plans")).isNotEmpty();
    double before = 0;
    for (JsonNode proposal : found.path("plans")) {
      assertThat(proposal.path("peak_bytes").longValue()).isLessThan((long) (0.004 * (1 << 30)));
      assertThat(proposal.path("step_seconds").doubleValue()).isGreaterThanOrEqualTo(before);
      before = proposal.path("step_seconds").doubleValue();
    }
    JsonNode best = found.path("plans").path(0);
    List<String> command =
        new ArrayList<>(
            List.of("plan", "plan.yaml", "--workers", "8", "--cluster", "cluster.yaml", "--json"));
    for (JsonNode override : best.path("set")) {
      command.addAll(List.of("--set", override.asText()));
    }
    Command.Outcome outcome = Command.in(folder).run(command.toArray(String[]::new));
    assertThat(outcome.status()).as(outcome.error()).isZero();
    JsonNode planned = new ObjectMapper().readTree(outcome.output());
    assertThat(planned.path("fits").booleanValue()).isTrue();
    assertThat(planned.path("step_seconds").doubleValue())
        .isCloseTo(best.path("step_seconds").doubleValue(), Percentage.withPercentage(5));

    Files.writeString(folder.resolve("cluster.yaml"), CLUSTER.formatted("0.0001"));
    assertThat(search("8").path("plans")).isEmpty();
  }

  private JsonNode search(String ranks) throws Exception {
    Command.Outcome outcome = searching(ranks, "--json");
    assertThat(outcome.status()).as(outcome.error()).isZero();
    return new ObjectMapper().readTree(outcome.output());
  }

  private Command.Outcome searching(String ranks, String... options) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of("plan", "plan.yaml", "--search", "--cluster", "cluster.yaml", "--workers"));
    command.add(ranks);
    command.addAll(List.of(options));
    return Command.in(folder).run(command.toArray(String[]::new));
  }

  /** And not said to fit no memory. What only its own layout gets wrong is no mistake there. */
  @Test
  void theSearchRefusesWhatNoLayoutMends() throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan("gpt2", 4, 1, 3, "}"));
    Files.writeString(folder.resolve("cluster.yaml"), CLUSTER.formatted("8"));
    Command.Outcome outcome =
        searching("2", "--set", "device=cuda", "--set", "parallel={tensor: 3}");
    assertThat(outcome.status()).as(outcome.output()).isEqualTo(64);
    assertThat(outcome.error().lines()).hasSize(1);
    assertThat(outcome.error()).contains("device cuda is not available");
  }

  @Test
  void mistakesInADescriptionAreToldAsThoseOfAPlan() throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan("gpt2", 4, 1, 3, "}"));
    Files.writeString(
        folder.resolve("cluster.yaml"),
        CLUSTER.formatted("0").replace("devices_per", "device_per"));
    Command.Outcome outcome =
        Command.in(folder).run("plan", "plan.yaml", "--workers", "2", "--cluster", "cluster.yaml");
    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.error())
        .contains("cluster.yaml:1:1: device_per_host", "devices_per_host", "device.memory_gib");
    Files.writeString(
        folder.resolve("cluster.yaml"),
        CLUSTER.formatted("8").replace("host: 2", "host: 9000000000").replace(" 0.5", " 1.5"));
    Command.Outcome large =
        Command.in(folder).run("plan", "plan.yaml", "--workers", "2", "--cluster", "cluster.yaml");
    assertThat(large.status()).isEqualTo(64);
    assertThat(large.error())
        .contains("devices_per_host: expected a whole number", "device.efficiency", "at most 1");
    Command.Outcome alone = Command.in(folder).run("plan", "plan.yaml", "--search");
    assertThat(alone.status()).isEqualTo(64);
    assertThat(alone.error()).contains("--search needs --cluster");
  }
}
