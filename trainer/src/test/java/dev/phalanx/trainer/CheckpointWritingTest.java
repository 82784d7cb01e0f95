package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import dev.phalanx.checkpoint.CheckpointWriteException;
import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.InProcessGroups;
import dev.phalanx.collectives.ProcessGroups;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.ParsedPlan;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(120)
final class CheckpointWritingTest {
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 16, heads: 2, sequence: 8, vocab: 32}
      data: {kind: reference}
      batch: {global: 6, micro: 1}
      optimizer: {kind: sgd, lr: 1.0e-3}
      steps: 3
      threads: 1
      checkpoint: {dir: checkpoints, every: %s, async: %s}
      """;

  @TempDir private Path folder = Path.of("");

  /** Of an asynchronous save, by the next one or at the end of the job. */
  @ParameterizedTest(name = "{0} ranks, every {1} steps, async {2}")
  @CsvSource({"2, 1, false", "2, 1, true", "3, 3, true", "1, 1, true"})
  void whatCannotBeWrittenIsSaidOnEveryRank(int worldSize, int every, boolean isAsync)
      throws Exception {
    List<Future<JobResult>> ranks =
        run(
            PLAN.formatted(every, isAsync),
            worldSize,
            new JobListener() {
              @Override
              public void started(JobSummary summary) {
                makeUnwritable(folder.resolve("checkpoints"));
              }
            });

    Throwable failure = catchThrowable(ranks.get(0)::get).getCause();
    assertThat(failure)
        .isInstanceOf(CheckpointWriteException.class)
        .hasRootCauseInstanceOf(IOException.class)
        .hasMessageContaining("step-00000" + every);
    for (Future<JobResult> other : ranks.subList(1, worldSize)) {
      assertThatThrownBy(other::get)
          .cause()
          .isInstanceOf(RankZeroWriteException.class)
          .hasMessageContaining("rank 0 could not write the checkpoint")
          .hasMessageEndingWith(failure.getMessage());
    }
  }

  /** From now on nothing is found there, and no folder can be made. */
  private static void makeUnwritable(Path checkpoints) {
    try {
      Files.delete(checkpoints.resolve(".lock"));
      Files.delete(checkpoints);
      Files.createSymbolicLink(checkpoints, checkpoints.resolveSibling("nowhere"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void whereNothingCanBeWrittenNoStepIsTaken() throws Exception {
    Files.createSymbolicLink(folder.resolve("checkpoints"), folder.resolve("nowhere"));
    List<Future<JobResult>> ranks =
        run(
            PLAN.formatted(1, false),
            2,
            new JobListener() {
              @Override
              public void started(JobSummary summary) {
                throw new AssertionError("the job has begun");
              }
            });

    assertThatThrownBy(ranks.get(0)::get)
        .cause()
        .isInstanceOf(CheckpointWriteException.class)
        .hasMessageContaining(folder.resolve("checkpoints").toString());
    assertThatThrownBy(ranks.get(1)::get)
        .cause()
        .isInstanceOf(CollectiveException.class)
        .hasMessageContaining("rank 0");
  }

  private List<Future<JobResult>> run(String yaml, int worldSize, JobListener listener)
      throws InterruptedException {
    ParsedPlan plan = JobConfigParser.parse("plan.yaml", yaml);
    InProcessGroups groups =
        new InProcessGroups(worldSize, GroupOptions.withTimeout(Duration.ofSeconds(60)));
    ExecutorService threads = Executors.newFixedThreadPool(worldSize);
    List<Future<JobResult>> results = new ArrayList<>();
    for (int number = 0; number < worldSize; number++) {
      int rank = number;
      results.add(
          threads.submit(
              () -> {
                ProcessGroups ofRank = groups.ofRank(rank);
                try (Communicator world = ofRank.world()) {
                  RankContext context =
                      new RankContext(
                          rank, worldSize, rank, worldSize, ofRank, world, 1, folder, () -> false);
                  return new TrainingJob(
                          plan.config(),
                          context,
                          JobListener.ofRank(rank, listener),
                          Optional.empty())
                      .run();
                }
              }));
    }
    threads.shutdown();
    if (!threads.awaitTermination(100, TimeUnit.SECONDS)) {
      threads.shutdownNow();
      throw new IllegalStateException("The ranks have not ended");
    }
    return results;
  }

  @Test
  void aRankThatIsGoneDoesNotHideWhatCouldNotBeWritten() throws Exception {
    InProcessGroups groups =
        new InProcessGroups(2, GroupOptions.withTimeout(Duration.ofSeconds(60)));
    CheckpointWriteException failure =
        new CheckpointWriteException("The disk is full", new IOException("full"));
    groups.ofRank(1).world().close();
    try (Communicator world = groups.ofRank(0).world();
        Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
        Arena host = new Arena(engine, Device.CPU)) {
      CheckpointWriting writing =
          new CheckpointWriting(
              world, count -> host.allocate(DType.UINT8, count), null, Duration.ofSeconds(1));

      assertThat(writing.told(failure)).isSameAs(failure);
    }
    assertThat(failure.getSuppressed())
        .singleElement()
        .isInstanceOf(CollectiveException.class)
        .asString()
        .contains("rank 1");
  }
}
