package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.trainer.StepRecord;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** ZeRO's stages change where things lie, never the answer. */
@Timeout(300)
final class ShardingTest {
  private static final Offset<Double> LOSS = Offset.offset(1e-5); // see ParityTest
  private static final Percentage NORM = Percentage.withPercentage(0.01);
  private static final int STEPS = 50;

  @TempDir private Path folder = Path.of("");

  static Stream<Arguments> layouts() {
    return Stream.of(Reference.Curve.values())
        .flatMap(
            curve ->
                Stream.of(1, 2, 3)
                    .flatMap(
                        stage ->
                            Stream.of(
                                Arguments.of(curve, stage, 2, 4),
                                Arguments.of(curve, stage, 2, 1),
                                Arguments.of(curve, stage, 4, 2),
                                Arguments.of(curve, stage, 4, 1))));
  }

  @ParameterizedTest(name = "{0}, stage {1}, {2} ranks, micro-batches of {3}")
  @MethodSource("layouts")
  void everyStageGivesTheReferenceCurve(Reference.Curve curve, int stage, int ranks, int microBatch)
      throws Exception {
    InProcessJob.Run run =
        InProcessJob.run(
            Reference.plan(curve, STEPS, microBatch, sharding(stage)),
            ranks,
            folder,
            Optional.empty());

    assertCurve(losses(run), norms(run), curve.losses(), curve.gradientNorms());
  }

  private static String sharding(int stage) {
    return "sharding: {zero: %d}\ncommunication: {bucket_mb: 0.05}\n".formatted(stage);
  }

  @ParameterizedTest(name = "stage {0}")
  @ValueSource(ints = {1, 2, 3})
  void everyStageGivesTheReferenceCurveInProcesses(int stage) throws Exception {
    Reference.Curve curve = Reference.Curve.CLIP_COSINE;
    JsonNode report = train(Reference.plan(curve, STEPS, 2, sharding(stage)), 4);

    assertCurve(
        numbers(report, "loss"),
        numbers(report, "grad_norm"),
        curve.losses(),
        curve.gradientNorms());
  }

  private JsonNode train(String plan, int ranks, String... options) throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan + "log: {report: report.json}\n");
    Command.Outcome outcome =
        Command.in(folder)
            .run(
                Stream.concat(
                        Stream.of(
                            "train", "plan.yaml", "--quiet", "--workers", Integer.toString(ranks)),
                        Stream.of(options))
                    .toArray(String[]::new));
    assertThat(outcome.status()).as(outcome.error()).isZero();
    return new ObjectMapper().readTree(folder.resolve("report.json").toFile());
  }

  private static double[] losses(InProcessJob.Run run) {
    return run.steps().stream().mapToDouble(StepRecord::loss).toArray();
  }

  private static double[] norms(InProcessJob.Run run) {
    return run.steps().stream().mapToDouble(StepRecord::gradientNorm).toArray();
  }

  private static double[] numbers(JsonNode report, String key) {
    List<JsonNode> steps = report.path("steps").valueStream().toList();
    return steps.stream().mapToDouble(step -> step.path(key).doubleValue()).toArray();
  }

  private static void assertCurve(
      double[] losses, double[] norms, double[] expectedLosses, double[] expectedNorms) {
    assertThat(losses).hasSameSizeAs(expectedLosses);
    for (int step = 0; step < losses.length; step++) {
      assertThat(losses[step]).as("loss of step %d", step).isCloseTo(expectedLosses[step], LOSS);
      assertThat(norms[step]).as("norm of step %d", step).isCloseTo(expectedNorms[step], NORM);
    }
  }
}
