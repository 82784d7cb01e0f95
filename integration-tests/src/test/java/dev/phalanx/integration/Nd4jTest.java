package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Engines;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The engine nd4j in whole jobs: the curves of the reference, beside torch, and its memory. */
@Timeout(300)
final class Nd4jTest {
  private static final int STEPS = 50;

  @TempDir private Path folder = Path.of("");

  static Stream<Arguments> layouts() {
    return Stream.of(Reference.Curve.values())
        .flatMap(curve -> Stream.of(1, 2, 4).map(ranks -> Arguments.of(curve, ranks)));
  }

  @ParameterizedTest(name = "{0}, {1} ranks")
  @MethodSource("layouts")
  void ranksAsThreadsGiveTheReferenceCurve(Reference.Curve curve, int ranks) throws Exception {
    InProcessJob.Run run =
        InProcessJob.run(
            Reference.plan(curve, STEPS, 8 / ranks, "engine: nd4j\n"),
            ranks,
            folder,
            Optional.empty());
    Curves.of(run).assertFollows(Curves.of(curve));
  }

  /** Both libraries in one JVM, in one job: each rank takes the other one. */
  @Test
  void ranksOnTorchAndOnNd4jTrainTogether() throws Exception {
    AtomicInteger opened = new AtomicInteger();
    InProcessJob.Run run =
        InProcessJob.run(
            Reference.plan(Reference.Curve.CLIP, STEPS, 2, ""),
            4,
            folder,
            Optional.empty(),
            (name, options) ->
                Engines.open(opened.getAndIncrement() % 2 == 0 ? "nd4j" : "torch", options));
    Curves.of(run).assertFollows(Curves.of(Reference.Curve.CLIP));
  }

  @Test
  void aPlanFileRunsUnchangedButForItsEngine() throws Exception {
    JsonNode report = train(Reference.plan(Reference.Curve.CLIP_COSINE, STEPS, 4, ""), 2);
    Curves.of(report).assertFollows(Curves.of(Reference.Curve.CLIP_COSINE));
    assertThat(report.path("engine").asText()).isEqualTo("nd4j");
  }

  /**
   * Ten times the steps, and no more memory: what one operation in a hundred left behind would show
   * as tens of megabytes.
   */
  @Tag("long")
  @Test
  void memoryDoesNotGrowWithTheSteps() throws Exception {
    String plan = Reference.plan(Reference.Curve.PLAIN, 150, 8, "");
    long few = peakBytes(train(plan, 1));
    long many = peakBytes(train(plan.replace("steps: 150", "steps: 1500"), 1));
    assertThat(many - few).as("from %s bytes to %s", few, many).isLessThan(24L << 20);
  }

  private static long peakBytes(JsonNode report) {
    return report.path("ranks").get(0).path("peak_rss_bytes").longValue();
  }

  /** By the command, with a small heap: what is left to the garbage collector is no growth. */
  private JsonNode train(String plan, int ranks) throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan + "log: {report: report.json}\n");
    Command.Outcome outcome =
        Command.in(folder)
            .with("PHALANX_WORKER_JAVA_OPTIONS", "-Xmx40m")
            .run(
                "train",
                "plan.yaml",
                "--workers",
                Integer.toString(ranks),
                "--quiet",
                "--set",
                "engine=nd4j");
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(0);
    return new ObjectMapper().readTree(folder.resolve("report.json").toFile());
  }
}
