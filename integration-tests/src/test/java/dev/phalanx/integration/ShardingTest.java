package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.trainer.StepRecord;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** ZeRO's stages change where things lie, never the answer. */
@Timeout(300)
final class ShardingTest {
  private static final int STEPS = 50;

  @TempDir private Path folder = Path.of("");

  static Stream<Arguments> layouts() {
    Stream<Arguments> deepest =
        Stream.of(1, 2, 3)
            .flatMap(
                stage ->
                    Stream.of(
                        Arguments.of(Reference.Curve.CLIP_COSINE, stage, 2, 4),
                        Arguments.of(Reference.Curve.CLIP_COSINE, stage, 2, 1),
                        Arguments.of(Reference.Curve.CLIP_COSINE, stage, 4, 2),
                        Arguments.of(Reference.Curve.CLIP_COSINE, stage, 4, 1)));
    Stream<Arguments> others =
        Stream.of(Reference.Curve.PLAIN, Reference.Curve.CLIP)
            .flatMap(curve -> Stream.of(1, 2, 3).map(stage -> Arguments.of(curve, stage, 2, 2)));
    return Stream.concat(deepest, others);
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

    Curves.of(run).assertFollows(Curves.of(curve));
  }

  private static String sharding(int stage) {
    return "sharding: {zero: %d}\ncommunication: {bucket_mb: 0.05}\n".formatted(stage);
  }

  static Stream<Arguments> hybrids() {
    return Stream.of(
        Arguments.of(1, 2, 4), Arguments.of(2, 2, 4), Arguments.of(3, 2, 4), Arguments.of(3, 1, 2));
  }

  @Tag("long")
  @ParameterizedTest(name = "stage {0} within {1} of {2} ranks")
  @MethodSource("hybrids")
  void shardsMayBeSmallerThanAllRanks(int stage, int shardSize, int ranks) throws Exception {
    Reference.Curve curve = Reference.Curve.CLIP;
    String sharding = "sharding: {zero: %d, shard_size: %d}\n".formatted(stage, shardSize);
    InProcessJob.Run run =
        InProcessJob.run(
            Reference.plan(curve, STEPS, 1, sharding), ranks, folder, Optional.empty());

    Curves.of(run).assertFollows(Curves.of(curve));
  }

  /** Between processes values and gradients lie in memory that ranks of a host share. */
  @Tag("long")
  @ParameterizedTest(name = "stage {0} within {1} ranks")
  @CsvSource({"1, -1", "3, 2"})
  void processesGiveTheReferenceCurve(int stage, int shardSize) throws Exception {
    Reference.Curve curve = Reference.Curve.CLIP_COSINE;
    String sharding = "sharding: {zero: %d, shard_size: %d}\n".formatted(stage, shardSize);
    String small = "communication: {bucket_mb: 0.05}\n"; // several of them at a time
    JsonNode report = train(Reference.plan(curve, STEPS, 2, sharding + small), 4);

    Curves.of(report).assertFollows(Curves.of(curve));
  }

  /** Neither the parameters' sizes nor the batch are multiples of the ranks. */
  private static final String UNEVEN =
      """
      precision: %s
      model: {family: llama, layers: 3, hidden: 20, heads: 2, ffn_hidden: 37, sequence: 16, vocab: 101}
      data: {kind: reference}
      batch: {global: 12, micro: 2}
      optimizer: {kind: %s, lr: 1.0e-2%s}
      steps: 12
      threads: 1
      communication: {bucket_mb: 0.01, algorithm: ring}
      sharding: {zero: %d}
      """;

  /**
   * Three ranks add up the same numbers, but at the ends of parts in another order, so last bits
   * differ; where they do, bf16 may round a value to its neighbour, which is 2^-8 away.
   */
  @ParameterizedTest(name = "{0} {1}, stage {2}")
  @CsvSource({
    "fp32, adamw, 1",
    "fp32, adamw, 2",
    "fp32, adamw, 3",
    "fp32, sgd, 3",
    "bf16, adamw, 1",
    "bf16, adamw, 2",
    "bf16, adamw, 3"
  })
  void everyStageGivesWhatStageZeroGives(String precision, String optimizer, int stage)
      throws Exception {
    double[] whole = losses(uneven(precision, optimizer, 0, 3));
    double[] sharded = losses(uneven(precision, optimizer, stage, 3));

    assertThat(sharded).hasSameSizeAs(whole);
    for (int step = 0; step < whole.length; step++) {
      assertThat(sharded[step])
          .as("loss of step %d", step)
          .isCloseTo(
              whole[step], Offset.offset((precision.equals("bf16") ? 1e-4 : 1e-6) * whole[step]));
    }
  }

  /** Two numbers have one sum in either order, and with one micro-batch each rank brings one. */
  @ParameterizedTest(name = "{0} {1}, stage {2}")
  @CsvSource({
    "fp32, adamw, 1",
    "fp32, adamw, 2",
    "fp32, adamw, 3",
    "fp32, sgd, 1",
    "bf16, adamw, 1",
    "bf16, adamw, 2",
    "bf16, adamw, 3"
  })
  void betweenTwoRanksEveryStageGivesTheSameBits(String precision, String optimizer, int stage)
      throws Exception {
    List<double[]> losses = new ArrayList<>();
    for (int each : new int[] {0, stage}) {
      String plan = unevenPlan(precision, optimizer, each).replace("micro: 2", "micro: 6");
      losses.add(losses(InProcessJob.run(plan, 2, folder, Optional.empty())));
    }

    assertThat(losses.get(1)).isEqualTo(losses.get(0));
  }

  private InProcessJob.Run uneven(String precision, String optimizer, int stage, int ranks)
      throws Exception {
    return InProcessJob.run(
        unevenPlan(precision, optimizer, stage), ranks, folder, Optional.empty());
  }

  private static String unevenPlan(String precision, String optimizer, int stage) {
    return UNEVEN.formatted(
        precision, optimizer, optimizer.equals("sgd") ? ", momentum: 0.9" : "", stage);
  }

  /** The second micro-batch finds what the first one has learned of the pass. */
  @ParameterizedTest(name = "recompute {0}")
  @CsvSource({"none", "full"})
  void layersThatStayBetweenThePassesGiveTheSameBits(String recompute) throws Exception {
    String more = "recompute: " + recompute;
    List<double[]> losses = new ArrayList<>();
    for (boolean reshards : new boolean[] {true, false}) {
      String plan =
          unevenPlan("fp32", "adamw", 3)
              .replace("zero: 3", "zero: 3, reshard_after_forward: " + reshards)
              .replace("vocab: 101", "vocab: 101, " + more);
      losses.add(losses(InProcessJob.run(plan, 2, folder, Optional.empty())));
    }

    assertThat(losses.get(1)).isEqualTo(losses.get(0));
  }

  static Stream<Arguments> changesOfLayout() {
    return Stream.of(Arguments.of(0, 2, 3, 4), Arguments.of(3, 4, 1, 2), Arguments.of(2, 2, 0, 1));
  }

  @ParameterizedTest(name = "from stage {0} on {1} ranks to stage {2} on {3}")
  @MethodSource("changesOfLayout")
  void aCheckpointFitsEveryStage(int stage, int ranks, int nextStage, int nextRanks)
      throws Exception {
    Reference.Curve curve = Reference.Curve.PLAIN;
    String saved = "checkpoint: {dir: saved, every: 20}\n";
    InProcessJob.run(
        Reference.plan(curve, 20, 2, sharding(stage) + saved), ranks, folder, Optional.empty());
    InProcessJob.Run rest =
        InProcessJob.run(
            Reference.plan(curve, STEPS, 2, sharding(nextStage) + saved),
            nextRanks,
            folder,
            Optional.of(folder.resolve("saved")));

    Curves.of(rest).assertFollows(Curves.of(curve).from(20));
  }

  /** Values, gradients and Adam's two moments, fp32, by Rajbhandari et al. (2020), figure 1. */
  @ParameterizedTest(name = "stage {0} on {1} ranks, resharding {2}")
  @CsvSource({"0, 2, true", "1, 2, true", "2, 2, true", "3, 2, true", "3, 4, true", "3, 4, false"})
  void memoryAndTrafficAreTheFormulas(int stage, int ranks, boolean reshards) throws Exception {
    JsonNode shorter = reportOf(stage, ranks, reshards, 4);
    JsonNode longer = reportOf(stage, ranks, reshards, 14);
    long whole = 4 * parameters();
    for (int rank = 0; rank < ranks; rank++) {
      JsonNode held = longer.path("ranks").path(rank);
      long padded = stage == 0 ? whole : paddedBytes(held, stage, ranks);
      assertThat(padded).isBetween(whole, whole + 4L * (ranks - 1) * MOST_BUCKETS);
      assertThat(held.path("parameter_bytes").longValue())
          .isEqualTo(stage == 3 ? padded / ranks : padded);
      assertThat(held.path("gradient_bytes").longValue())
          .isEqualTo(stage >= 2 ? padded / ranks : padded);
      assertThat(held.path("optimizer_bytes").longValue())
          .isEqualTo(stage >= 1 ? 2 * padded / ranks : 2 * padded);
      long sentInTenSteps = bytesSent(longer, rank) - bytesSent(shorter, rank);
      // Stage 3 keeps the last layer from the forward to the backward pass.
      long travelling = stage == 3 && reshards ? 3 * padded - lastLayerBytes(ranks) : 2 * padded;
      long perStep = (ranks - 1) * travelling / ranks;
      assertThat(sentInTenSteps / 10)
          .as("bytes sent by rank %d in a step", rank)
          .isBetween(perStep, perStep + MOST_OTHER_BYTES);
    }
  }

  private JsonNode reportOf(int stage, int ranks, boolean reshards, int steps) throws Exception {
    String more =
        """
        communication: {algorithm: ring, bucket_mb: 0.05}
        sharding: {zero: %d, reshard_after_forward: %b}
        log: {report: report.json}
        """
            .formatted(stage, reshards);
    InProcessJob.run(
        Reference.plan(Reference.Curve.CLIP, steps, 8 / ranks, more),
        ranks,
        folder,
        Optional.empty());
    return new ObjectMapper().readTree(folder.resolve("report.json").toFile());
  }

  /** Loss, votes for a stop, norm; and parts of a bucket that are not equal in stage 0. */
  private static final long MOST_OTHER_BYTES = 400;

  private static final int MOST_BUCKETS = 16;
  private static final long HIDDEN = 64;
  private static final long LAYER = 12 * HIDDEN * HIDDEN + 13 * HIDDEN;

  private static long paddedBytes(JsonNode held, int stage, int ranks) {
    return stage == 3
        ? held.path("parameter_bytes").longValue() * ranks
        : held.path("parameter_bytes").longValue();
  }

  private static long bytesSent(JsonNode report, int rank) {
    return report.path("ranks").path(rank).path("bytes_sent").path("data").longValue();
  }

  /** With the norm after it, which is gathered together with it. */
  private static long lastLayerBytes(int ranks) {
    long count = LAYER + 2 * HIDDEN;
    return 4 * ((count + ranks - 1) / ranks * ranks);
  }

  /** Of the reference's model: two layers of 64, 256 tokens, 32 positions. */
  private static long parameters() {
    return 256 * HIDDEN + 32 * HIDDEN + 2 * LAYER + 2 * HIDDEN;
  }

  @ParameterizedTest(name = "{0} {1}")
  @CsvSource({
    "sharding.shard_size=2, while zero is 0",
    "sharding.zero=4, zero",
  })
  void whatCannotBeIsOneMessage(String setting, String message) throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), Reference.plan(Reference.Curve.PLAIN, 1, 1, ""));
    Command.Outcome outcome =
        Command.in(folder).run("train", "plan.yaml", "--workers", "2", "--set", setting);

    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.error()).contains(message);
  }

  private JsonNode train(String plan, int ranks) throws Exception {
    Files.writeString(folder.resolve("plan.yaml"), plan + "log: {report: report.json}\n");
    Command.Outcome outcome =
        Command.in(folder)
            .run("train", "plan.yaml", "--quiet", "--workers", Integer.toString(ranks));
    assertThat(outcome.status()).as(outcome.error()).isZero();
    return new ObjectMapper().readTree(folder.resolve("report.json").toFile());
  }

  private static double[] losses(InProcessJob.Run run) {
    return run.steps().stream().mapToDouble(StepRecord::loss).toArray();
  }
}
