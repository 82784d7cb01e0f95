package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Sample;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.StepRecord;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.aggregator.ArgumentsAccessor;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Mixtures of experts: what PyTorch computes, whoever has which expert. */
@Timeout(300)
final class ExpertParallelTest {
  private static final String MIXTRAL = "hf-tiny-mixtral";

  @TempDir private Path folder = Path.of("");

  /** Which curve of {@code make.py}, with which ranks, and how they are arranged. */
  static Stream<String> layoutsOfMixtral() {
    return Stream.of(
            "1 | batch: {global: 4, micro: 4}",
            "1 | batch: {global: 4, micro: 1}",
            "2 | batch: {global: 4, micro: 2}\nparallel: {expert: 2}",
            "4 | batch: {global: 4, micro: 1}\nparallel: {expert: 4}\nsharding: {zero: 1}",
            "2 | batch: {global: 4, micro: 2}\nparallel: {tensor: 2}")
        .flatMap(layout -> IntStream.range(0, 3).mapToObj(curve -> curve + " | " + layout));
  }

  @Sample(3)
  @ParameterizedTest
  @MethodSource("layoutsOfMixtral")
  void theCurvesOfPyTorch(String cell) throws Exception {
    String[] words = cell.split(" \\| ", 3);
    JsonNode curve = expected().path("curves").path(Integer.parseInt(words[0]));
    copyMixtral(curve.path("top_k").intValue());
    String plan =
        """
        model: {family: llama, experts: {balance: %s, z_loss: %s}, init: {kind: hf, path: mixtral}}
        data: {kind: reference}
        optimizer: {kind: sgd, lr: 0.5, momentum: 0.9, weight_decay: 0}
        steps: %d
        threads: 1
        communication: {bucket_mb: 0.01}
        """
            .formatted(
                curve.path("balance"), curve.path("z_loss"), expected().path("steps").intValue());

    InProcessJob.Run run =
        InProcessJob.run(
            plan + words[2] + "\n", Integer.parseInt(words[1]), folder, Optional.empty());

    Curves.of(run).assertFollows(new Curves(numbers(curve, "loss"), numbers(curve, "grad_norm")));
  }

  private static double[] numbers(JsonNode curve, String key) {
    return curve.path(key).valueStream().mapToDouble(JsonNode::doubleValue).toArray();
  }

  private static JsonNode expected() {
    try (InputStream file = resource("expected.json")) {
      return new ObjectMapper().readTree(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static InputStream resource(String name) {
    return ExpertParallelTest.class.getClassLoader().getResourceAsStream(MIXTRAL + "/" + name);
  }

  private void copyMixtral(int topK) throws IOException {
    Path copy = Files.createDirectories(folder.resolve("mixtral"));
    try (InputStream config = resource("config.json");
        InputStream weights = resource("model.safetensors")) {
      String text = new String(config.readAllBytes(), StandardCharsets.UTF_8);
      Files.writeString(
          copy.resolve("config.json"),
          topK == 2
              ? text
              : text.replace(
                  "\"num_experts_per_tok\": 2",
                  "\"norm_topk_prob\": false, \"num_experts_per_tok\": " + topK));
      Files.write(copy.resolve("model.safetensors"), weights.readAllBytes());
    }
  }

  // ------------------------------------------------------------------------ every kind of layout

  private static final String MODEL =
      """
      model: {family: %s, layers: 4, hidden: 32, heads: 4, kv_heads: %d, ffn_hidden: 40,
              sequence: 16, vocab: 250, dropout: %s, tied_embeddings: %b, recompute: %s,
              experts: {count: %d, top_k: %d, balance: 0.2, z_loss: 0.02}}
      data: {kind: reference}
      optimizer: {kind: adamw, lr: 1.0e-3, clip_grad_norm: 0.5}
      steps: 8
      threads: 1
      communication: {bucket_mb: 0.02}
      """;

  private String model(
      String family, String dropout, boolean tied, String recompute, int experts, int topK) {
    return MODEL.formatted(
        family, family.equals("llama") ? 2 : 4, dropout, tied, recompute, experts, topK);
  }

  private void assertGivesWhatOneRankGives(String model, int ranks, String layout)
      throws Exception {
    Curves one =
        Curves.of(
            InProcessJob.run(
                model + "batch: {global: 8, micro: 8}\n", 1, folder, Optional.empty()));
    Curves divided =
        Curves.of(InProcessJob.run(model + layout + "\n", ranks, folder, Optional.empty()));
    divided.assertFollows(one);
  }

  /** Whoever has the experts and the tokens; where each token goes to all, all get equally many. */
  @Test
  void theBusiestExpertIsTold() throws Exception {
    String model = model("llama", "0", true, "none", 4, 1);
    double[] one = loads(model, 1, "");
    double[] four = loads(model, 4, "parallel: {expert: 2, context: 2}");
    double[] tensor = loads(model, 4, "parallel: {pipeline: 2, tensor: 2}");

    assertThat(DoubleStream.of(one)).allMatch(load -> load > 1 && load <= 4);
    assertThat(four).isEqualTo(one);
    assertThat(tensor).isEqualTo(one);
    assertThat(loads(model("gpt2", "0", true, "full", 3, 3), 1, "")).containsOnly(1.0);
  }

  private double[] loads(String model, int ranks, String layout) throws Exception {
    String plan = model + "batch: {global: 8, micro: 4}\n" + layout + "\n";
    return InProcessJob.run(plan, ranks, folder, Optional.empty()).steps().stream()
        .mapToDouble(step -> step.expertLoad().orElseThrow())
        .toArray();
  }

  @Sample(3)
  @ParameterizedTest(name = "{0}, {5} of {4} experts, {6} ranks: {7}; {8}")
  @CsvSource(
      delimiter = '|',
      value = {
        "gpt2|0.1|true|none|4|2|2|data: 2, expert: 2|zero: 0",
        "llama|0|false|none|6|3|4|expert: 2|zero: 1",
        "llama|0.1|true|full|4|1|4|expert: 4|zero: 0",
        "gpt2|0|true|none|4|2|4|expert: 2, pipeline: 2, schedule: zb-h1|zero: 0",
        "llama|0.1|false|none|4|2|4|expert: 2, tensor: 2|zero: 0",
        "llama|0|true|none|4|2|4|expert: 2, tensor: 2, sequence_parallel: true|zero: 0",
        "gpt2|0|true|none|4|2|4|expert: 2, context: 2|zero: 0",
        "llama|0.1|true|none|4|2|4|tensor: 2, pipeline: 2, schedule: zb-h1|zero: 0",
      })
  void whatOneRankGives(ArgumentsAccessor cell) throws Exception {
    assertCellGivesWhatOneRankGives(cell);
  }

  /** Runs that are summed where they lie, while the backward pass goes on where that can be. */
  @Sample(3)
  @ParameterizedTest(name = "{0} ranks: {1}; {2}, overlap {3}")
  @CsvSource(
      delimiter = '|',
      value = {
        "2|expert: 2|zero: 0|true",
        "2|expert: 2|zero: 0|false",
        "4|expert: 2|zero: 1|true",
        "8|expert: 2|zero: 1, shard_size: 2|true",
        "4|expert: 2|zero: 3|true",
        "4|expert: 2, pipeline: 2|zero: 0|true",
        "4|expert: 2, tensor: 2, sequence_parallel: true|zero: 0|true",
      })
  void longRunsOfCopies(int ranks, String parallel, String sharding, boolean overlap)
      throws Exception {
    assertGivesWhatOneRankGives(
        model("gpt2", "0", true, "none", 4, 2)
            .replace("vocab: 250", "vocab: 4111")
            .replace("bucket_mb: 0.02", "bucket_mb: 0.02, overlap: " + overlap),
        ranks,
        "batch: {global: 8, micro: 1}\nparallel: {" + parallel + "}\nsharding: {" + sharding + "}");
  }

  /** LAMB's norms and Muon's matrices are of whole parameters. */
  @Sample(3)
  @ParameterizedTest(name = "{0}, {1} ranks: {2}; {3}")
  @CsvSource(
      delimiter = '|',
      value = {
        "lamb|2|expert: 2|zero: 0",
        "muon|2|expert: 2|zero: 0",
        "lamb|4|expert: 2|zero: 3",
        "muon|4|expert: 2|zero: 1",
        "lamb|4|expert: 2, tensor: 2|zero: 0",
        "muon|8|expert: 2, tensor: 2|zero: 1",
      })
  void optimizersThatLookAtWholeParameters(
      String optimizer, int ranks, String parallel, String sharding) throws Exception {
    assertGivesWhatOneRankGives(
        model("llama", "0", true, "none", 4, 2).replace("kind: adamw", "kind: " + optimizer),
        ranks,
        "batch: {global: 8, micro: 2}\nparallel: {" + parallel + "}\nsharding: {" + sharding + "}");
  }

  @Tag("long")
  @ParameterizedTest(name = "{0}, {5} of {4} experts, {6} ranks: {7}; {8}")
  @CsvSource(
      delimiter = '|',
      value = {
        "llama|0.1|false|none|8|2|8|expert: 4|zero: 2",
        "llama|0|true|none|4|2|8|expert: 2|zero: 3",
        "gpt2|0.1|true|none|4|4|8|expert: 2|zero: 3, shard_size: 2",
        "gpt2|0.1|true|full|4|2|8|expert: 2, tensor: 2, pipeline: 2|zero: 0",
        "llama|0|true|none|4|2|8|expert: 2, tensor: 2, pipeline: 2, sequence_parallel: true|zero:"
            + " 0",
        "llama|0.1|true|none|4|1|8|expert: 2, context: 2, pipeline: 2, schedule: gpipe|zero: 0",
        "llama|0.1|false|full|4|2|8|expert: 2, tensor: 4, sequence_parallel: true|zero: 0",
        "llama|0|true|none|4|2|8|expert: 2, tensor: 4|zero: 0",
        "gpt2|0|false|none|4|2|8|expert: 2, context: 2, order: [data, tensor, context,"
            + " pipeline]|zero: 1",
        "gpt2|0|false|none|4|2|4|expert: 2, pipeline: 2, schedule: interleaved, virtual_stages:"
            + " 2|zero: 0",
        "llama|0|true|none|4|2|8|expert: 2, tensor: 2, pipeline: 2, schedule: zb-h2|zero: 0",
        "gpt2|0|true|none|4|1|8|tensor: 2, pipeline: 2, schedule: zb-h1, sequence_parallel:"
            + " true|zero: 1",
        "llama|0|true|none|5|2|3|data: 1, tensor: 1, pipeline: 3|zero: 0",
        "gpt2|0.1|true|none|4|2|8|tensor: 2, sequence_parallel: true|zero: 3",
      })
  void whatOneRankGivesWithMore(ArgumentsAccessor cell) throws Exception {
    assertCellGivesWhatOneRankGives(cell);
  }

  private void assertCellGivesWhatOneRankGives(ArgumentsAccessor cell) throws Exception {
    assertGivesWhatOneRankGives(
        model(
            cell.getString(0),
            cell.getString(1),
            cell.getBoolean(2),
            cell.getString(3),
            cell.getInteger(4),
            cell.getInteger(5)),
        cell.getInteger(6),
        "batch: {global: 8, micro: 1}\nparallel: {%s}\nsharding: {%s}"
            .formatted(cell.getString(7), cell.getString(8)));
  }

  /** Saved by ranks that divide experts, continued by others that divide something else. */
  @Test
  void aCheckpointFitsOtherLayouts() throws Exception {
    String model =
        model("llama", "0.1", true, "none", 4, 2).replace("steps: 8", "steps: %d")
            + "evaluation: {every: 0}\n";
    String saving = "checkpoint: {dir: saved, every: 4}\nbatch: {global: 8, micro: 2}\n";
    Curves whole =
        Curves.of(
            InProcessJob.run(
                model.formatted(8) + "batch: {global: 8, micro: 8}\n",
                1,
                folder,
                Optional.empty()));
    InProcessJob.run(
        model.formatted(4) + saving + "parallel: {expert: 2, tensor: 2}\n",
        4,
        folder,
        Optional.empty());

    Curves rest =
        Curves.of(
            InProcessJob.run(
                model.formatted(8) + saving + "parallel: {expert: 4}\nsharding: {zero: 1}\n",
                4,
                folder,
                Optional.of(folder.resolve("saved"))));

    rest.assertFollows(whole.from(4));
  }

  /** Rounding to 8 or 11 bits moves these losses, of about 5.5, by some thousandths. */
  @ParameterizedTest
  @CsvSource({
    "precision: bf16, 2, expert: 2",
    "precision: fp16, 2, expert: 2",
    "precision: bf16, 4, 'expert: 2, tensor: 2, sequence_parallel: true'",
    "'communication: {compression: {kind: fp16}}', 4, expert: 2",
  })
  void narrowerTypesStayNear(String narrower, int ranks, String parallel) throws Exception {
    String model = model("llama", "0", true, "none", 4, 2);
    String batch = "batch: {global: 8, micro: 2}\n";
    List<StepRecord> exact = InProcessJob.run(model + batch, 1, folder, Optional.empty()).steps();
    String narrow =
        model.replace("communication: {bucket_mb: 0.02}\n", "")
            + narrower
            + "\n"
            + batch
            + "parallel: {"
            + parallel
            + "}\n";
    List<StepRecord> found = InProcessJob.run(narrow, ranks, folder, Optional.empty()).steps();

    for (int step = 0; step < exact.size(); step++) {
      assertThat(found.get(step).loss()).isCloseTo(exact.get(step).loss(), within(0.02));
    }
    assertThat(found.get(7).loss()).isLessThan(found.get(0).loss());
  }

  /** In the last round of an evaluation some ranks have experts and no samples. */
  @Test
  void anEvaluationIsTheSameWhoeverHasTheExperts() throws Exception {
    Files.writeString(folder.resolve("text.txt"), "It was the best of times, it was. ".repeat(99));
    String model =
        model("gpt2", "0.1", true, "none", 4, 2)
                .replace("data: {kind: reference}", "data: {kind: text, path: text.txt}")
                .replace("vocab: 250", "vocab: 256")
            + "evaluation: {every: 4, batches: 3, fraction: 0.1}\nbatch: {global: 8, micro: 2}\n";
    Evaluation one = evaluation(model, 1);
    assertThat(one.items() % (4 * 2 * 16)).as("tokens of whole rounds of four ranks").isPositive();

    Evaluation four = evaluation(model + "parallel: {expert: 4}\n", 4);

    assertThat(four.items()).isEqualTo(one.items());
    assertThat(four.loss()).isCloseTo(one.loss(), within(1e-5));
  }

  private Evaluation evaluation(String plan, int ranks) throws Exception {
    return InProcessJob.run(plan, ranks, folder, Optional.empty())
        .result()
        .lastEvaluation()
        .orElseThrow();
  }
}
