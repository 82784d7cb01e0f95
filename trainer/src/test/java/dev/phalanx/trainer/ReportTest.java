package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ReportTest {
  private static final int STEPS = 1000;

  private static Report report() {
    JobConfig job =
        JobConfigParser.parse(
                "plan.yaml",
                """
                name: told
                model: {family: gpt2, layers: 1, hidden: 8, heads: 1, sequence: 8, vocab: 16}
                data: {kind: reference}
                batch: {global: 1, micro: 1}
                optimizer: {kind: adamw, lr: 1.0e-4}
                steps: 1000
                """)
            .config();
    Report report = new Report(job, 1, "torch");
    for (int step = 1; step <= STEPS; step++) {
      report.add(new StepRecord(step, 1.0 / step, 0.1, 1e-4, 8, 2.5));
    }
    return report;
  }

  private static void assertWhole(Path file) throws Exception {
    JsonNode read = new ObjectMapper().readTree(file.toFile());
    assertThat(read.fieldNames())
        .toIterable()
        .containsExactly(
            "name", "world_size", "mesh", "engine", "result", "steps", "evaluations", "ranks");
    assertThat(read.path("steps")).hasSize(STEPS);
    assertThat(read.path("steps").get(2).path("loss").doubleValue()).isEqualTo(1.0 / 3);
    assertThat(Files.readString(file)).endsWith("}" + System.lineSeparator());
  }

  @Test
  void itIsWrittenWholeInItsFixedForm(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("new/report.json");
    report().write(file, "completed", List.of());
    assertWhole(file);
    assertThat(folder.resolve("new").toFile().list()).containsExactly("report.json");
  }

  @Test
  void aLinkStaysOne(@TempDir Path folder) throws Exception {
    Path behind = Files.writeString(folder.resolve("behind.json"), "{}");
    Path link = Files.createSymbolicLink(folder.resolve("report.json"), behind);
    report().write(link, "completed", List.of());
    assertThat(link).isSymbolicLink();
    assertWhole(behind);
  }
}
