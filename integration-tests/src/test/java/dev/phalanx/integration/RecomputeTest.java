package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.trainer.StepRecord;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Computing activations again in the backward pass changes memory and no bit of the result. */
@Timeout(120)
final class RecomputeTest {
  private static final String PLAN =
      """
      precision: %s
      model: {family: %s, layers: 6, hidden: 32, heads: 4, sequence: 32, vocab: 256, dropout: %s,
              recompute: %s}
      data: {kind: text, path: text.txt, tokenizer: bytes}
      batch: {global: 8, micro: 2}
      optimizer: {kind: adamw, lr: 3.0e-3, clip_grad_norm: 1.0}
      steps: 5
      threads: 1
      communication: {bucket_mb: 0.02}
      log: {report: report.json}
      """;

  @TempDir private Path folder = Path.of("");

  @ParameterizedTest(name = "{0} {1}, dropout {2}, {3} ranks")
  @CsvSource({"fp32, gpt2, 0, 1", "fp32, gpt2, 0.2, 2", "bf16, llama, 0.1, 2"})
  void sameBitsInLessMemory(String precision, String family, String dropout, int ranks)
      throws Exception {
    Files.writeString(folder.resolve("text.txt"), "It was the best of times, it was. ".repeat(99));

    List<StepRecord> kept = run(precision, family, dropout, "none", ranks);
    long keptBytes = activationBytes();
    List<StepRecord> recomputed = run(precision, family, dropout, "full", ranks);
    long recomputedBytes = activationBytes();

    assertThat(numbers(recomputed)).isEqualTo(numbers(kept));
    // Of each of six layers only the input is kept, and one layer's inside at a time.
    assertThat(recomputedBytes).isLessThan(keptBytes / 2);
  }

  /** What Korthikanti et al. compute again, attention's scores, is not kept in any case. */
  @Test
  void selectiveRecomputationChangesNothing() throws Exception {
    Files.writeString(folder.resolve("text.txt"), "It was the best of times, it was. ".repeat(99));
    List<StepRecord> kept = run("fp32", "gpt2", "0.1", "none", 2);
    long keptBytes = activationBytes();
    assertThat(numbers(run("fp32", "gpt2", "0.1", "selective", 2))).isEqualTo(numbers(kept));
    assertThat(activationBytes()).isEqualTo(keptBytes);
  }

  private List<StepRecord> run(
      String precision, String family, String dropout, String recompute, int ranks)
      throws Exception {
    String plan = PLAN.formatted(precision, family, dropout, recompute);
    return InProcessJob.run(plan, ranks, folder, Optional.empty()).steps();
  }

  private long activationBytes() throws IOException {
    return new ObjectMapper()
        .readTree(folder.resolve("report.json").toFile())
        .at("/ranks/0/peak_activation_bytes")
        .longValue();
  }

  private static List<List<Double>> numbers(List<StepRecord> steps) {
    return steps.stream().map(step -> List.of(step.loss(), step.gradientNorm())).toList();
  }
}
