package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.InProcessGroups;
import dev.phalanx.collectives.ProcessGroups;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.sharding.compression.CompressionStatistics;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
final class TrainingLoopTest {
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 16, heads: 2, sequence: 8, vocab: 32}
      data: {kind: text, path: text.txt}
      batch: {global: 1, micro: 1}
      optimizer: {kind: sgd, lr: 1.0e-3}
      steps: 3
      evaluation: {every: 1}
      checkpoint: {dir: checkpoints, every: 1}
      log: {report: report.json}
      """;

  private static final double WAITED_IN_STEP = 1;
  private static final double WAITED_BETWEEN = 1e6;

  @TempDir private Path folder = Path.of("");

  /** Says that it waits, above all where no step is under way. */
  private static final class WaitingModel implements TrainedModel {
    private final double evaluationLoss;
    private double waited;
    private long saved;

    WaitingModel(double evaluationLoss) {
      this.evaluationLoss = evaluationLoss;
    }

    @Override
    public StepOutcome step(long step, BooleanSupplier stopRequested) {
      waited += WAITED_IN_STEP;
      return new StepOutcome(
          1, 1, 1e-3, 8, OptionalDouble.empty(), OptionalDouble.empty(), false, false);
    }

    @Override
    public Optional<Evaluation> evaluate() {
      waited += WAITED_BETWEEN;
      return Optional.of(new Evaluation(evaluationLoss, 8, OptionalDouble.empty()));
    }

    @Override
    public void save(long done) {
      saved = done;
      waited += WAITED_BETWEEN;
    }

    @Override
    public void finish() {
      waited += WAITED_BETWEEN;
    }

    @Override
    public Optional<Path> newestCheckpoint() {
      return Optional.empty();
    }

    @Override
    public Memory memory() {
      return new Memory(0, 0, 0, 0);
    }

    @Override
    public double waitedMillis() {
      return waited;
    }

    @Override
    public Map<Axis, Traffic> traffic() {
      return Map.of();
    }

    @Override
    public @Nullable CompressionStatistics compression() {
      return null;
    }

    @Override
    public void abandon() {
      // nobody else is there
    }
  }

  @Test
  void waitsBetweenStepsAreIdleTime() throws Exception {
    run(new WaitingModel(1));

    JsonNode rank = report().path("ranks").path(0);
    assertThat(rank.path("exposed_communication_ms").doubleValue()).isEqualTo(3 * WAITED_IN_STEP);
  }

  /** No step's own loss tells what its update has done. */
  @Test
  void anEvaluationWithoutANumberEndsTheJobBeforeItSaves() throws Exception {
    WaitingModel model = new WaitingModel(Double.NaN);

    assertThatThrownBy(() -> run(model))
        .isInstanceOf(NotFiniteException.class)
        .hasMessageContaining("After step 1 the held-out data has loss NaN");
    assertThat(model.saved).isZero();
    assertThat(report().path("result").asText()).isEqualTo("failed");
  }

  private JsonNode report() throws Exception {
    return new ObjectMapper().readTree(folder.resolve("report.json").toFile());
  }

  private void run(WaitingModel model) throws Exception {
    JobConfig config = JobConfigParser.parse("plan.yaml", PLAN).config();
    ProcessGroups groups =
        new InProcessGroups(1, GroupOptions.withTimeout(Duration.ofSeconds(60))).ofRank(0);
    try (Communicator world = groups.world();
        Engine engine = Engines.open("auto", EngineOptions.singleThreaded());
        Arena host = new Arena(engine, Device.CPU)) {
      TrainingLoop.run(
          config,
          new RankContext(0, 1, 0, 1, groups, world, 1, folder, () -> false),
          JobListener.NONE,
          host,
          model,
          new JobSummary("plan", 1, "gpt2", 0, "torch", "", "fp32", Unit.TOKENS, 8, 1, 3));
    }
  }
}
