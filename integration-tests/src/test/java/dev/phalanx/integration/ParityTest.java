package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Sample;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * The layout never changes the answer: any number of ranks and micro-batches gives the reference's
 * curves.
 */
@Timeout(300)
final class ParityTest {
  private static final int STEPS = 50;

  @TempDir private Path folder = Path.of("");

  /**
   * Every layout of the deepest curve; of the others, those of one and of two micro-batches a rank.
   */
  static Stream<Arguments> layouts() {
    return Stream.of(Reference.Curve.values())
        .flatMap(
            curve ->
                Stream.of(1, 2, 4)
                    .flatMap(
                        ranks ->
                            Stream.of(1, 2, 4, 8)
                                .filter(micro -> ranks * micro <= 8)
                                .filter(
                                    micro ->
                                        curve == Reference.Curve.CLIP_COSINE
                                            || ranks * micro == 8
                                            || ranks * micro == 4)
                                .map(micro -> Arguments.of(curve, ranks, micro))));
  }

  @Sample(3)
  @ParameterizedTest(name = "{0}, {1} ranks, micro-batches of {2}")
  @MethodSource("layouts")
  void ranksAsThreadsGiveTheReferenceCurve(Reference.Curve curve, int ranks, int microBatch)
      throws Exception {
    InProcessJob.Run run =
        InProcessJob.run(
            Reference.plan(curve, STEPS, microBatch, ""), ranks, folder, Optional.empty());
    Curves.of(run).assertFollows(Curves.of(curve));
  }

  /** Every layout, and those of three ranks in every stage of sharding. */
  static Stream<Arguments> otherSizes() {
    return OtherSizes.read().stream()
        .flatMap(
            sizes ->
                sizes.layouts().stream()
                    .flatMap(
                        layout ->
                            IntStream.rangeClosed(0, layout.ranks() == 3 ? 3 : 0)
                                .mapToObj(
                                    stage ->
                                        Arguments.of(
                                            sizes, layout.ranks(), layout.microBatch(), stage))));
  }

  @Sample(4)
  @ParameterizedTest(name = "{0}, {1} ranks, micro-batches of {2}, stage {3}")
  @MethodSource("otherSizes")
  void otherSizesAndSeedsGiveTheirCurves(OtherSizes sizes, int ranks, int microBatch, int stage)
      throws Exception {
    String sharding = "sharding: {zero: " + stage + "}\n";
    InProcessJob.Run run =
        InProcessJob.run(sizes.plan(microBatch) + sharding, ranks, folder, Optional.empty());
    Curves.of(run).assertFollows(new Curves(sizes.losses(), sizes.gradientNorms()));
  }

  /**
   * A rank goes through its micro-batches in a process as it does in a thread, and threads show
   * every layout. Here are every number of ranks, with more than one micro-batch each, and every
   * curve.
   */
  static Stream<Arguments> processLayouts() {
    return Stream.of(
        Arguments.of(Reference.Curve.CLIP_COSINE, 1, 4, false),
        Arguments.of(Reference.Curve.PLAIN, 2, 2, false),
        Arguments.of(Reference.Curve.CLIP, 4, 1, false),
        Arguments.of(Reference.Curve.CLIP_COSINE, 4, 2, true));
  }

  @Sample(2)
  @ParameterizedTest(name = "{0}, {1} processes, micro-batches of {2}, in one process: {3}")
  @MethodSource("processLayouts")
  void theCommandGivesTheReferenceCurve(
      Reference.Curve curve, int ranks, int microBatch, boolean isInProcess) throws Exception {
    // Small buckets: several all-reduces overlap with the backward pass.
    Files.writeString(
        folder.resolve("plan.yaml"),
        Reference.plan(
            curve,
            STEPS,
            microBatch,
            "communication: {bucket_mb: 0.05}\nlog: {report: report.json}\n"));
    Command.Outcome outcome =
        Command.in(folder)
            .run(
                Stream.concat(
                        Stream.of(
                            "train", "plan.yaml", "--workers", Integer.toString(ranks), "--quiet"),
                        isInProcess ? Stream.of("--in-process") : Stream.empty())
                    .toArray(String[]::new));
    assertThat(outcome.status()).as(outcome.error()).isEqualTo(0);
    JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
    assertThat(report.path("world_size").intValue()).isEqualTo(ranks);
    assertThat(report.path("result").asText()).isEqualTo("completed");
    assertThat(report.path("ranks")).hasSize(ranks);
    Curves.of(report).assertFollows(Curves.of(curve));
  }
}
