package dev.phalanx.launcher.local;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.launcher.terminal.Progress;
import dev.phalanx.trainer.RankStatistics;
import dev.phalanx.trainer.config.JobConfigParser;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class JobMonitorTest {
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 16, heads: 2, sequence: 8, vocab: 256}
      data: {kind: reference}
      batch: {global: 3, micro: 1}
      optimizer: {kind: sgd, lr: 1.0e-3}
      steps: 2
      log: {report: report.json}
      """;

  @TempDir private Path folder = Path.of("");

  @Test
  void theReportOfAFailureHasTheRanksThatToldOfThemselves() throws IOException {
    PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
    Console console = new Console(nowhere, nowhere, OptionalInt.empty());
    JobMonitor monitor =
        new JobMonitor(
            new JobOptions(
                JobConfigParser.parse("plan.yaml", PLAN, List.of("parallel.tensor=3")).config(),
                Placement.here(3, false, 0, Encryption.NONE),
                false,
                Optional.empty(),
                folder),
            new Progress(console, true, 1, System::nanoTime));

    monitor.accept(failed(2, Optional.of(statistics(2))));
    monitor.accept(failed(1, Optional.empty()));
    monitor.accept(failed(0, Optional.of(statistics(0))));
    monitor.reportFailure("rank 1 is gone", console);

    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(report.path("mesh").path("tensor").intValue()).isEqualTo(3);
    assertThat(report.path("mesh").path("data").intValue()).isEqualTo(1);
    assertThat(report.path("failure").asText()).isEqualTo("rank 1 is gone");
    assertThat(report.path("ranks").valueStream().map(rank -> rank.path("rank").intValue()))
        .containsExactly(0, 2);
    assertThat(report.path("ranks").path(1).path("peak_rss_bytes").longValue()).isEqualTo(2000);
  }

  private static WorkerEvent failed(int rank, Optional<RankStatistics> statistics) {
    return new WorkerEvent.Failed(
        rank,
        new Failure(ExitStatus.RANK_FAILED, Failure.Blame.OTHERS, "rank 1 is gone", ""),
        statistics);
  }

  private static RankStatistics statistics(int rank) {
    return new RankStatistics(rank, 1000L * rank, 1, 2, 3, 4, Map.of(), 7, 8, 9, null);
  }
}
