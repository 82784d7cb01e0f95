package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.trainer.StepRecord;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** k steps, a new process, k more steps: bit for bit what 2k steps in one go give. */
@Timeout(300)
final class ResumeTest {
  private static final int HALF = 7;
  private static final String DROPOUT_TEXT =
      """
      seed: 99
      precision: %s
      model: {family: %s, layers: 2, hidden: 32, heads: 4, kv_heads: %d, sequence: 24, vocab: 256, dropout: %s}
      data: {kind: text, path: text.txt, tokenizer: bytes}
      batch: {global: 8, micro: 2}
      optimizer:
        kind: %s
        lr: 3.0e-3
        clip_grad_norm: 1.0
        schedule: {kind: cosine, warmup_steps: 3, decay_steps: 14, min_lr: 1.0e-4}
      steps: 14
      threads: 1
      evaluation: {every: 5, batches: 2, fraction: 0.1}
      """;

  @TempDir private Path folder = Path.of("");

  static Stream<Arguments> plans() {
    return Stream.of(
        Arguments.of("fp32", "gpt2", 4, "0.1", "adamw", 1),
        Arguments.of("fp32", "gpt2", 4, "0.1", "adamw", 2),
        Arguments.of("bf16", "llama", 2, "0.0", "adamw", 2),
        Arguments.of("fp32", "llama", 2, "0.0", "sgd", 4));
  }

  @ParameterizedTest(name = "{0} {1} {4} on {5} ranks")
  @MethodSource("plans")
  void threadsGoOnBitForBit(
      String precision,
      String family,
      int keyValueHeads,
      String dropout,
      String optimizer,
      int ranks)
      throws Exception {
    writeText();
    String plan = DROPOUT_TEXT.formatted(precision, family, keyValueHeads, dropout, optimizer);
    List<StepRecord> whole =
        InProcessJob.run(withCheckpoints(plan, "whole", 100), ranks, folder, Optional.empty())
            .steps();
    List<StepRecord> parts = new ArrayList<>();
    // The schedule goes on as if the job were as long as the whole one: only its end comes earlier.
    parts.addAll(
        InProcessJob.run(
                withCheckpoints(plan, "parts", 100).replace("\nsteps: 14", "\nsteps: " + HALF),
                ranks,
                folder,
                Optional.empty())
            .steps());
    parts.addAll(
        InProcessJob.run(
                withCheckpoints(plan, "parts", 100),
                ranks,
                folder,
                Optional.of(folder.resolve("parts")))
            .steps());
    assertThat(numbers(parts)).isEqualTo(numbers(whole));
    assertSameFiles(folder.resolve("whole/step-000014"), folder.resolve("parts/step-000014"));
  }

  @Test
  void goingOnFromAnEarlierStepKeepsWhatItSaves() throws Exception {
    writeText();
    String plan = DROPOUT_TEXT.formatted("fp32", "gpt2", 4, "0.1", "adamw");
    Files.writeString(
        folder.resolve("plan.yaml"), plan + "checkpoint: {dir: saved, every: 4, keep: 1}\n");
    run("train", "plan.yaml", "--quiet", "--set", "checkpoint.keep=4");
    run(
        "train",
        "plan.yaml",
        "--quiet",
        "--resume",
        "saved/step-000004",
        "--set",
        "steps=9",
        "--set",
        "optimizer.schedule.decay_steps=14");
    assertThat(folder.resolve("saved/step-000009")).isDirectory();
    assertThat(folder.resolve("saved/step-000014")).doesNotExist();
    assertThat(folder.resolve("saved.old-1/step-000014")).isDirectory();
  }

  /** Its checkpoints stay where they are. */
  @Test
  void theFolderOfCheckpointsMayBeNamedByALink() throws Exception {
    writeText();
    String plan = DROPOUT_TEXT.formatted("fp32", "gpt2", 4, "0.1", "adamw");
    Files.writeString(folder.resolve("plan.yaml"), plan + "checkpoint: {dir: saved, every: 4}\n");
    run("train", "plan.yaml", "--quiet", "--set", "steps=4");
    Files.createSymbolicLink(folder.resolve("link"), folder.resolve("saved"));
    run("train", "plan.yaml", "--quiet", "--resume", "link/step-000004", "--set", "steps=5");
    assertThat(folder.resolve("saved/step-000004")).isDirectory();
    assertThat(folder.resolve("saved/step-000005")).isDirectory();
    assertThat(folder.resolve("saved.old-1")).doesNotExist();
  }

  @Test
  void processesGoOnBitForBit() throws Exception {
    writeText();
    String plan = DROPOUT_TEXT.formatted("fp32", "gpt2", 4, "0.1", "adamw");
    Files.writeString(
        folder.resolve("whole.yaml"),
        withCheckpoints(plan, "whole", 5) + "log: {report: whole.json}\n");
    Files.writeString(
        folder.resolve("parts.yaml"),
        withCheckpoints(plan, "parts", 5) + "log: {report: parts.json}\n");
    run("train", "whole.yaml", "--workers", "2", "--quiet");
    run("train", "parts.yaml", "--workers", "2", "--quiet", "--set", "steps=" + HALF);
    run("train", "parts.yaml", "--workers", "2", "--quiet", "--resume");
    JsonNode whole = steps("whole.json");
    JsonNode second = steps("parts.json");
    assertThat(second).hasSize(14 - HALF);
    for (int step = 0; step < second.size(); step++) {
      for (String key : List.of("step", "loss", "grad_norm", "lr")) {
        assertThat(second.path(step).path(key)).isEqualTo(whole.path(step + HALF).path(key));
      }
    }
    assertSameFiles(folder.resolve("whole/step-000014"), folder.resolve("parts/step-000014"));
  }

  @Test
  void aCheckpointOfTwoRanksGoesOnOnOneAndFour() throws Exception {
    writeText();
    String plan = DROPOUT_TEXT.formatted("fp32", "gpt2", 4, "0.0", "adamw");
    List<StepRecord> whole =
        InProcessJob.run(withCheckpoints(plan, "whole", 100), 2, folder, Optional.empty()).steps();
    InProcessJob.run(
        withCheckpoints(plan, "first", 100).replace("\nsteps: 14", "\nsteps: " + HALF),
        2,
        folder,
        Optional.empty());
    for (int ranks : new int[] {1, 4}) {
      List<StepRecord> rest =
          InProcessJob.run(
                  withCheckpoints(plan, "rest-" + ranks, 100),
                  ranks,
                  folder,
                  Optional.of(folder.resolve("first")))
              .steps();
      assertThat(rest).hasSize(14 - HALF);
      for (int step = 0; step < rest.size(); step++) {
        // Sums in another order: as close as the reference's curves are on any layout.
        assertThat(rest.get(step).loss())
            .isCloseTo(whole.get(step + HALF).loss(), Offset.offset(1e-5));
      }
    }
  }

  private void run(String... arguments) throws Exception {
    Command.Outcome outcome = Command.in(folder).run(arguments);
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(0);
  }

  private static String withCheckpoints(String plan, String directory, int every) {
    return plan + "checkpoint: {dir: %s, every: %d}\n".formatted(directory, every);
  }

  private void writeText() throws IOException {
    StringBuilder text = new StringBuilder();
    for (int line = 0; line < 200; line++) {
      text.append("In line ").append(line).append(" stands the square ").append(line * line);
      text.append(".\n");
    }
    Files.writeString(folder.resolve("text.txt"), text);
  }

  private JsonNode steps(String report) throws IOException {
    return new ObjectMapper().readTree(folder.resolve(report).toFile()).path("steps");
  }

  private static List<List<Double>> numbers(List<StepRecord> steps) {
    return steps.stream()
        .map(step -> List.of(step.loss(), step.gradientNorm(), step.learningRate()))
        .toList();
  }

  private static void assertSameFiles(Path one, Path other) {
    for (String file : List.of("model.safetensors", "optimizer.safetensors")) {
      assertThat(one.resolve(file)).hasSameBinaryContentAs(other.resolve(file));
    }
  }
}
