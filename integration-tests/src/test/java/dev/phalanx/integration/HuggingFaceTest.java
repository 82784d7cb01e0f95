package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Sample;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Hugging Face's checkpoints give the logits that its own library gives. */
@Timeout(120)
final class HuggingFaceTest {
  private static final Offset<Double> LOGIT = Offset.offset(1e-4);

  @TempDir private Path folder = Path.of("");

  /** GPT-2 in one file; Llama in one fp32 file, and in three bf16 files with an index. */
  static Stream<Arguments> models() throws IOException {
    JsonNode gpt2 = json("hf-tiny-gpt2/expected.json");
    JsonNode llama = json("hf-tiny-llama/expected.json");
    return IntStream.range(0, 2)
        .boxed()
        .flatMap(
            row ->
                Stream.of(
                    Arguments.of("hf-tiny-gpt2", row, gpt2.path("input_ids"), last(gpt2, row)),
                    Arguments.of(
                        "hf-tiny-llama",
                        row,
                        llama.path("input_ids"),
                        llama.path("last_logits").path(row)),
                    Arguments.of(
                        "hf-tiny-llama-shards",
                        row,
                        llama.path("input_ids"),
                        llama.path("last_logits").path(row))));
  }

  private static JsonNode last(JsonNode expected, int row) {
    JsonNode positions = expected.path("logits").path(row);
    return positions.path(positions.size() - 1);
  }

  @Sample(3)
  @ParameterizedTest(name = "{0}, row {1}")
  @MethodSource("models")
  void logitsAreTheirLibrarys(String model, int row, JsonNode inputs, JsonNode expected)
      throws Exception {
    JsonNode answer = generate(model, tokens(inputs.path(row)), 1);
    assertThat(answer.path("logits")).hasSameSizeAs(expected);
    int best = 0;
    for (int token = 0; token < expected.size(); token++) {
      assertThat(answer.path("logits").path(token).doubleValue())
          .as("token %d", token)
          .isCloseTo(expected.path(token).doubleValue(), LOGIT);
      best = expected.path(token).doubleValue() > expected.path(best).doubleValue() ? token : best;
    }
    assertThat(answer.path("tokens").path(0).intValue()).isEqualTo(best);
  }

  @Test
  void greedyTokensAreTheirLibrarys() throws Exception {
    JsonNode llama = json("hf-tiny-llama/expected.json");
    String tokens = tokens(llama.path("input_ids").path(0));
    JsonNode expected = llama.path("greedy");
    assertThat(generate("hf-tiny-llama", tokens, expected.size()).path("tokens"))
        .isEqualTo(expected);
  }

  /** Whatever part of them a rank reads: rows, columns, and pieces that begin within a row. */
  @ParameterizedTest(name = "{0}, {1} ranks: {2}; {3}")
  @CsvSource(
      delimiter = '|',
      value = {
        "hf-tiny-llama-shards|6|{tensor: 2}|{zero: 3}",
        "hf-tiny-gpt2|2|{tensor: 2}|{zero: 0}",
      })
  void aFineTuningRunBeginsWithTheirWeights(
      String model, int workers, String parallel, String sharding) throws Exception {
    beginsWithTheirWeights(model, workers, parallel, sharding);
  }

  @Tag("long")
  @ParameterizedTest(name = "{0}, {1} ranks: {2}; {3}")
  @CsvSource(
      delimiter = '|',
      value = {
        "hf-tiny-llama-shards|2|{}|{zero: 0}",
        "hf-tiny-llama-shards|4|{tensor: 4, sequence_parallel: true, data: 1}|{zero: 0}",
        "hf-tiny-gpt2|3|{}|{zero: 3}",
        "hf-tiny-gpt2|6|{tensor: 2}|{zero: 1}",
      })
  void soItDoesInMoreLayouts(String model, int workers, String parallel, String sharding)
      throws Exception {
    beginsWithTheirWeights(model, workers, parallel, sharding);
  }

  private void beginsWithTheirWeights(String model, int workers, String parallel, String sharding)
      throws Exception {
    boolean isGpt2 = model.contains("gpt2");
    Path plan =
        Files.writeString(
            folder.resolve("plan.yaml"),
            """
            model: {family: %s, sequence: 16, init: {kind: hf, path: %s}}
            data: {kind: reference}
            batch: {global: 12, micro: 1}
            optimizer: {kind: sgd, lr: 1.0e-9}
            steps: 1
            checkpoint: {dir: checkpoints, every: 1}
            parallel: %s
            sharding: %s
            """
                .formatted(isGpt2 ? "gpt2" : "llama", directory(model), parallel, sharding));
    Command.Outcome outcome =
        Command.in(folder)
            .run("train", plan.toString(), "--workers", "" + workers, "--quiet", "--in-process");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(0);
    JsonNode expected = json((isGpt2 ? model : "hf-tiny-llama") + "/expected.json");
    JsonNode logits = isGpt2 ? last(expected, 0) : expected.path("last_logits").path(0);
    String tokens = tokens(expected.path("input_ids").path(0));
    assertLogits(generate("--checkpoint", "checkpoints", tokens, 1), logits);
  }

  /** The same weights with Llama 3.1's frequencies, before and after a checkpoint. */
  @Test
  void scaledRotaryPositionsAreTheirLibrarysAndStayInCheckpoints() throws Exception {
    Path model = Files.createDirectory(folder.resolve("llama3"));
    Files.copy(
        directory("hf-tiny-llama").resolve("model.safetensors"),
        model.resolve("model.safetensors"));
    Files.copy(directory("hf-tiny-llama3").resolve("config.json"), model.resolve("config.json"));
    JsonNode expected = json("hf-tiny-llama3/expected.json");
    JsonNode row = expected.path("last_logits").path(0);
    String tokens = tokens(expected.path("input_ids").path(0));
    assertLogits(generate("--hf", model.toString(), tokens, 1), row);
    Files.writeString(
        folder.resolve("plan.yaml"),
        """
        model: {family: llama, sequence: 16, init: {kind: hf, path: llama3}}
        data: {kind: reference}
        batch: {global: 4, micro: 2}
        optimizer: {kind: sgd, lr: 1.0e-9}
        steps: 1
        checkpoint: {dir: checkpoints, every: 1}
        """);
    Command.Outcome trained = Command.in(folder).run("train", "plan.yaml", "--quiet");
    assertThat(trained.status()).as(trained.error()).isEqualTo(0);
    assertLogits(generate("--checkpoint", "checkpoints", tokens, 1), row);
  }

  private static void assertLogits(JsonNode answer, JsonNode expected) {
    assertThat(answer.path("logits")).hasSameSizeAs(expected);
    for (int token = 0; token < expected.size(); token++) {
      assertThat(answer.path("logits").path(token).doubleValue())
          .as("token %d", token)
          .isCloseTo(expected.path(token).doubleValue(), LOGIT);
    }
  }

  private JsonNode generate(String model, String tokens, int count) throws Exception {
    return generate("--hf", directory(model).toString(), tokens, count);
  }

  private JsonNode generate(String kind, String path, String tokens, int count) throws Exception {
    Command.Outcome outcome =
        Command.in(folder)
            .run(
                "generate",
                kind,
                path,
                "--tokens",
                tokens,
                "--max-tokens",
                Integer.toString(count),
                "--greedy",
                "--json",
                "--logits");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(0);
    return new ObjectMapper().readTree(outcome.output());
  }

  private static String tokens(JsonNode row) {
    List<String> ids = row.valueStream().map(JsonNode::asText).toList();
    return ids.stream().collect(Collectors.joining(","));
  }

  private static Path directory(String resource) throws Exception {
    return Paths.get(HuggingFaceTest.class.getResource("/" + resource).toURI());
  }

  private static JsonNode json(String resource) throws IOException {
    try (InputStream stream = HuggingFaceTest.class.getResourceAsStream("/" + resource)) {
      return new ObjectMapper().readTree(stream);
    }
  }
}
