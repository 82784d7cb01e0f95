package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Sample;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.assertj.core.data.Offset;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A model in stages, under every schedule and beside every other axis, gives what one rank gives.
 */
@Timeout(300)
final class PipelineParallelTest {
  private static final int STEPS = 50;

  @TempDir private Path folder = Path.of("");

  @Sample(3)
  @ParameterizedTest(
      name = "{0}: {1} with micro-batches of {2}, tensor {3}, data {4}, zero {5}, sp {6}")
  @CsvSource({
    "PLAIN, gpipe, 1, 1, 1, 0, false",
    "CLIP, 1f1b, 2, 1, 1, 0, false",
    "CLIP_COSINE, 1f1b, 8, 1, 1, 0, false",
    "CLIP_COSINE, zb-h1, 1, 1, 1, 0, false",
    "CLIP_COSINE, zb-h2, 2, 1, 1, 0, false",
    "CLIP_COSINE, 1f1b, 1, 1, 2, 0, false",
    "CLIP_COSINE, gpipe, 2, 1, 2, 1, false",
    "CLIP_COSINE, 1f1b, 1, 1, 2, 2, false",
    "CLIP_COSINE, 1f1b, 1, 1, 2, 3, false",
    "CLIP_COSINE, zb-h1, 1, 1, 2, 3, false",
    "CLIP_COSINE, 1f1b, 2, 2, 1, 0, true",
    "CLIP_COSINE, zb-h1, 2, 2, 1, 0, true",
    "CLIP_COSINE, 1f1b, 1, 2, 2, 1, true",
    "CLIP_COSINE, zb-h2, 1, 2, 2, 2, false",
    "CLIP_COSINE, 1f1b, 1, 2, 2, 3, true"
  })
  void theReferenceCurve(
      Reference.Curve curve,
      String schedule,
      int micro,
      int tensor,
      int data,
      int zero,
      boolean sequenceParallel)
      throws Exception {
    String more =
        """
        parallel: {tensor: %d, pipeline: 2, schedule: %s, sequence_parallel: %b}
        sharding: {zero: %d}
        communication: {bucket_mb: 0.05}
        """
            .formatted(tensor, schedule, sequenceParallel, zero);
    int ranks = 2 * tensor * data;
    int steps = ranks >= 4 ? STEPS / 2 : STEPS;
    InProcessJob.Run run =
        InProcessJob.run(
            Reference.plan(curve, steps, micro, more), ranks, folder, Optional.empty());

    Curves.of(run).assertFollows(Curves.of(curve).upTo(steps));
  }

  private static final String MODEL =
      """
      model: {family: %s, layers: %d, hidden: 48, heads: 4, kv_heads: %d, ffn_hidden: 96,
              sequence: 12, vocab: 250, dropout: %s, tied_embeddings: %b, recompute: %s}
      data: {kind: reference}
      optimizer: {kind: %s, lr: 1.0e-3, clip_grad_norm: 0.5}
      steps: 10
      threads: 1
      """;

  @Tag("long")
  @ParameterizedTest(
      name = "{0} of {1} layers, dropout {3}, tied {4}, recompute {5}, {6}: {7}, {8}")
  @CsvSource({
    "gpt2, 5, 4, 0.0, true, none, adamw, '{pipeline: 3}', 1",
    "gpt2, 4, 4, 0.1, true, none, adamw, '{pipeline: 4, schedule: zb-h1}', 1",
    "gpt2, 4, 4, 0.1, false, full, adamw, '{pipeline: 4, schedule: zb-h2}', 1",
    "gpt2, 4, 4, 0.1, true, none, adamw, '{pipeline: 2, schedule: interleaved, virtual_stages: 2}',"
        + " 1",
    "gpt2, 5, 4, 0.0, true, full, sgd, '{pipeline: 2, schedule: interleaved, virtual_stages: 2}',"
        + " 2",
    "llama, 5, 2, 0.1, true, none, adamw, '{pipeline: 4, tensor: 2, sequence_parallel: true}', 1",
    "llama, 4, 1, 0.1, false, none, adamw, '{pipeline: 2, tensor: 4, schedule: gpipe}', 2",
    "llama, 4, 1, 0.1, true, none, lamb, '{pipeline: 3}', 1",
    "gpt2, 4, 4, 0.1, true, none, adamw, '{pipeline: 2, tensor: 2, schedule: interleaved}', 1",
    "gpt2, 4, 4, 0.0, true, none, adamw, '{pipeline: 2, data: 2, schedule: interleaved};sharding:"
        + " {zero: 2}', 1",
    "llama, 5, 2, 0.1, false, none, adamw, '{pipeline: 2, data: 2};sharding: {zero: 3}', 2",
    "gpt2, 4, 4, 0.1, true, none, adamw, '{pipeline: 2, tensor: 4}', 2",
    "gpt2, 4, 4, 0.0, true, none, muon, '{pipeline: 2, data: 2}', 1",
    "gpt2, 3, 4, 0.1, true, none, adamw, '{pipeline: 3, data: 2, order: [pipeline, data, tensor,"
        + " context]}', 1"
  })
  void whatOneRankGives(
      String family,
      int layers,
      int keyHeads,
      String dropout,
      boolean tied,
      String recompute,
      String optimizer,
      String parallel,
      int micro)
      throws Exception {
    String model = MODEL.formatted(family, layers, keyHeads, dropout, tied, recompute, optimizer);
    String whole = model + "batch: {global: 8, micro: 8}\n";
    String divided =
        model
            + "batch: {global: 8, micro: "
            + micro
            + "}\nparallel: "
            + parallel.replace(';', '\n');
    JobConfig.Parallel axes =
        JobConfigParser.parse("plan.yaml", divided + "\n").config().parallel();
    int ranks = Math.toIntExact(axes.ranksPerSequence() * Math.max(1, axes.data()));
    Curves one = Curves.of(InProcessJob.run(whole, 1, folder, Optional.empty()));
    Curves all = Curves.of(InProcessJob.run(divided + "\n", ranks, folder, Optional.empty()));

    all.assertFollows(one);
  }

  /** Narrow types round in another order, codecs leave something out: near, not equal. */
  @Tag("long")
  @ParameterizedTest(name = "{0}")
  @ValueSource(
      strings = {
        "precision: bf16",
        "precision: fp16",
        "communication: {compression: {kind: int8}}",
        "sharding: {zero: 1, offload: cpu}",
        "sharding: {zero: 2, shard_size: 1}"
      })
  void otherKindsOfNumbersAndMemoryGoWithEveryAxis(String more) throws Exception {
    String model = MODEL.formatted("llama", 4, 2, "0.1", true, "none", "adamw") + more + "\n";
    String one =
        more.contains("precision")
            ? model
            : MODEL.formatted("llama", 4, 2, "0.1", true, "none", "adamw");
    Curves whole =
        Curves.of(
            InProcessJob.run(one + "batch: {global: 8, micro: 8}\n", 1, folder, Optional.empty()));
    String axes = "{tensor: 2, pipeline: 2, data: 2, sequence_parallel: true, schedule: zb-h1}";
    Curves divided =
        Curves.of(
            InProcessJob.run(
                model + "batch: {global: 8, micro: 1}\nparallel: " + axes + "\n",
                8,
                folder,
                Optional.empty()));

    assertThat(divided.losses()).hasSameSizeAs(whole.losses());
    for (int step = 0; step < whole.losses().length; step++) {
      assertThat(divided.losses()[step])
          .as("loss of step %d", step)
          .isCloseTo(whole.losses()[step], Percentage.withPercentage(0.3));
    }
  }

  /** Whole tensors are saved, and each rank reads what it holds of them. */
  @Tag("long")
  @ParameterizedTest(name = "from [{0}] on {1} ranks to [{2}] on {3}")
  @CsvSource(
      delimiter = '|',
      value = {
        "parallel: {tensor: 2}; | 4 | parallel: {tensor: 4, sequence_parallel: true};sharding:"
            + " {zero: 1} | 4",
        "sharding: {zero: 3} | 2 | parallel: {tensor: 2};sharding: {zero: 3} | 4",
        "parallel: {tensor: 4, sequence_parallel: true};sharding: {zero: 2} | 8 | sharding: {zero:"
            + " 1} | 2",
        "parallel: {pipeline: 2} | 2 | sharding: {zero: 1} | 2",
        "parallel: {tensor: 2} | 4 | parallel: {pipeline: 2, schedule: zb-h1};sharding: {zero: 3} |"
            + " 4",
        "parallel: {pipeline: 2, tensor: 2};sharding: {zero: 1} | 8 | parallel: {pipeline: 2} | 2"
      })
  void aCheckpointGoesOnInAnotherLayout(String from, int ranks, String to, int otherRanks)
      throws Exception {
    Reference.Curve curve = Reference.Curve.CLIP_COSINE;
    String checkpoints = "\ncheckpoint: {dir: saved, every: 100}\n";
    String first = Reference.plan(curve, 20, 2, from.replace(';', '\n') + checkpoints);
    String second = Reference.plan(curve, STEPS, 1, to.replace(';', '\n') + checkpoints);
    InProcessJob.run(first, ranks, folder, Optional.empty());
    InProcessJob.Run rest =
        InProcessJob.run(second, otherRanks, folder, Optional.of(folder.resolve("saved")));

    Curves.of(rest).assertFollows(Curves.of(curve).from(20));
  }

  /** Held-out samples go through the stages too, and Muon's state is of some parameters alone. */
  @Test
  void evaluationsAndStatesOfSomeParametersAloneDoNotDependOnTheLayout() throws Exception {
    Files.writeString(folder.resolve("text.txt"), "the same words again and again. ".repeat(300));
    String plan =
        """
        model: {family: llama, layers: 4, hidden: 32, heads: 4, sequence: 16, vocab: 256}
        data: {kind: text, path: text.txt, tokenizer: bytes}
        batch: {global: 8, micro: 2}
        optimizer: {kind: muon, lr: 1.0e-2}
        threads: 1
        evaluation: {every: 4, batches: 2, fraction: 0.1}
        log: {report: report.json}
        checkpoint: {dir: %s, every: 100}
        """;
    List<Double> losses = new ArrayList<>();
    for (String parallel : List.of("{}", "{pipeline: 2, data: 1}", "{pipeline: 2, data: 2}")) {
      int ranks = parallel.contains("pipeline") ? (parallel.contains("data: 2") ? 4 : 2) : 1;
      String saved = "saved" + losses.size();
      String whole = plan.formatted(saved) + "parallel: " + parallel + "\n";
      InProcessJob.run(whole + "steps: 4\n", ranks, folder, Optional.empty());
      InProcessJob.run(whole + "steps: 8\n", ranks, folder, Optional.of(folder.resolve(saved)));
      JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
      JsonNode last = report.path("evaluations").path(report.path("evaluations").size() - 1);
      assertThat(last.path("step").intValue()).isEqualTo(8);
      losses.add(last.path("loss").doubleValue());
    }
    assertThat(losses)
        .allSatisfy(loss -> assertThat(loss).isCloseTo(losses.get(0), Offset.offset(1e-4)));
  }

  private static String inThreeDimensions(int steps) {
    return Reference.plan(
        Reference.Curve.CLIP_COSINE,
        steps,
        1,
        """
        parallel: {tensor: 2, pipeline: 2, data: 2, schedule: ./table.txt}
        sharding: {zero: 1}
        log: {report: report.json}
        """);
  }

  /** A table from a file, between threads and between processes. */
  @Sample(2)
  @ParameterizedTest(name = "in one process: {0}")
  @ValueSource(booleans = {false, true})
  void theCommandRunsThreeDimensions(boolean isInProcess) throws Exception {
    Files.writeString(
        folder.resolve("table.txt"),
        "0F0 0F1 0F2 0F3 0B1 0B0 0B3 0B2\n" + "1F0 1F1 1B1 1B0 1F2 1F3 1I3 1B2 1W3\n");
    Files.writeString(folder.resolve("plan.yaml"), inThreeDimensions(isInProcess ? STEPS : 12));
    List<String> arguments = new ArrayList<>(List.of("train", "plan.yaml", "--quiet"));
    if (isInProcess) {
      arguments.add("--in-process");
    }
    Command.Outcome outcome = Command.in(folder).run(arguments.toArray(String[]::new));

    assertThat(outcome.status()).as(outcome.error()).isZero();
    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(report.path("world_size").intValue()).isEqualTo(8);
    assertThat(report.path("mesh").path("pipeline").intValue()).isEqualTo(2);
    Curves.of(report)
        .assertFollows(Curves.of(Reference.Curve.CLIP_COSINE).upTo(isInProcess ? STEPS : 12));
  }

  @ParameterizedTest(name = "{1}")
  @CsvSource(
      delimiter = '|',
      value = {
        "0F0 0B0 0F1 0B1 / 1F0 1F1 1B0 1B1 | the schedule never ends: rank 0 waits before 0B0 for"
            + " 1B0",
        "0F0 0B0 / 1F0 1B0 | for 2 ranks and 1 micro-batches, and the plan has pipeline 2 and 2",
        "0F0 0F1 0B0 / 1F0 1B0 1F1 1B1 | 0B1, or 0I1 and 0W1, is missing"
      })
  void aTableThatDoesNotSuitIsRefusedBeforeAProcessStarts(String table, String message)
      throws Exception {
    Files.writeString(folder.resolve("table.txt"), table.replace(" / ", "\n") + "\n");
    Files.writeString(
        folder.resolve("plan.yaml"),
        Reference.plan(
            Reference.Curve.PLAIN, 1, 4, "parallel: {pipeline: 2, schedule: ./table.txt}\n"));
    for (String command :
        message.contains("never ends") ? List.of("train", "plan") : List.of("train")) {
      Command.Outcome outcome = Command.in(folder).run(command, "plan.yaml", "--workers", "2");
      assertThat(outcome.status()).as(outcome.error()).isEqualTo(64);
      assertThat(outcome.error()).contains("parallel.schedule", message);
    }
  }
}
