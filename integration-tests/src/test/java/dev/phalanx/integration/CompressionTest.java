package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.trainer.NotFiniteException;
import dev.phalanx.trainer.StepRecord;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole jobs with compressed gradients. */
@Timeout(300)
final class CompressionTest {
  private static final int HALF = 9;
  private static final int STEPS = 18;
  private static final String ADAMW = "{kind: adamw, lr: 2.0e-3, clip_grad_norm: 1}";
  private static final String SGD = "{kind: sgd, lr: 0.1}";

  /** Two layers and several buckets; no size is a multiple of the ranks. */
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 2, hidden: 36, heads: 2, sequence: 16, vocab: 67}
      data: {kind: reference}
      batch: {global: 12, micro: 1}
      optimizer: %s
      steps: %d
      threads: 1
      communication: {bucket_mb: 0.03, compression: %s}
      sharding: {%s}
      checkpoint: {dir: %s}
      log: {report: report.json}
      """;

  private static final long PARAMETERS = 67 * 36 + 16 * 36 + 2 * (12 * 36 * 36 + 13 * 36) + 2 * 36;

  @TempDir private Path folder = Path.of("");

  private static String plan(
      String optimizer, int steps, String compression, String sharding, String directory) {
    return PLAN.formatted(optimizer, steps, compression, sharding, directory);
  }

  // ------------------------------------------------------------------------------------ learning

  /** Of every codec that learns in so few steps, on one layout each. */
  static Stream<Arguments> codecs() {
    return Stream.of(
        Arguments.of("{kind: fp16}", "zero: 1", 3, 0.001),
        Arguments.of("{kind: bf16}", "zero: 0", 2, 0.01),
        Arguments.of("{kind: int8, block: 256}", "zero: 2, shard_size: 2", 4, 0.02),
        Arguments.of("{kind: topk, density: 0.2, warmup_steps: 4}", "zero: 0", 3, 0.25),
        Arguments.of("{kind: threshold, min_density: 0.1, max_density: 0.3}", "zero: 0", 2, 0.25),
        Arguments.of("{kind: onebit, warmup_steps: 9}", "zero: 1", 2, 0.25),
        Arguments.of(
            "{kind: powersgd, rank: 4, warmup_steps: 4}", "zero: 3, shard_size: 2", 4, 0.25));
  }

  /**
   * @param tolerance as a part of what is learned without compression
   */
  @Tag("long")
  @ParameterizedTest(name = "{0}, {1} on {2} ranks")
  @MethodSource("codecs")
  void trainingGoesOnNearlyAsWithoutIt(String codec, String sharding, int ranks, double tolerance)
      throws Exception {
    List<Double> none = losses(train(plan(ADAMW, STEPS, "{kind: none}", "zero: 0", "none"), 2));
    List<Double> found = losses(train(plan(ADAMW, STEPS, codec, sharding, "some"), ranks));

    double last = none.get(STEPS - 1);
    assertThat(found.get(STEPS - 1))
        .isCloseTo(last, Offset.offset(tolerance * (none.get(0) - last)));
  }

  /** A warm-up sends gradients as they are, and one bucket's sums are those of the others. */
  @ParameterizedTest(name = "{0}")
  @CsvSource({"onebit", "powersgd"})
  void aWarmUpChangesNothing(String kind) throws Exception {
    String warmUp = "{kind: %s, warmup_steps: 100}".formatted(kind);
    assertThat(losses(train(plan(ADAMW, 6, warmUp, "zero: 0", "warm"), 2)))
        .isEqualTo(losses(train(plan(ADAMW, 6, "{kind: none}", "zero: 0", "none"), 2)));
  }

  /** Nothing is sent, so nothing is left out: least of all 1-bit Adam's variance. */
  @ParameterizedTest(name = "{0}, {1}")
  @CsvSource(
      delimiter = '|',
      value = {
        "{kind: onebit, warmup_steps: 2} | zero: 0",
        "{kind: topk, density: 0.01}     | zero: 1",
        "{kind: int8}                    | zero: 2, shard_size: 1",
        "{kind: onebit, warmup_steps: 2} | zero: 3",
      })
  void oneRankCompressesNothing(String codec, String sharding) throws Exception {
    assertThat(losses(train(plan(ADAMW, 6, codec, sharding, "one"), 1)))
        .isEqualTo(losses(train(plan(ADAMW, 6, "{kind: none}", sharding, "none"), 1)));
    assertThat(report().path("ranks").path(0).has("compression")).isFalse();
  }

  // ---------------------------------------------------------------------------------- statistics

  @ParameterizedTest(name = "{0} sends {1} times less")
  @CsvSource(
      delimiter = '|',
      value = {
        "{kind: fp16}                                        | 2",
        "{kind: int8, block: 1024}                           | 3.9",
        "{kind: topk, density: 0.01, warmup_steps: 0}        | 50",
        "{kind: onebit, warmup_steps: 1}                     | 7.8",
      })
  void theReportSaysWhatIsSaved(String codec, double ratio) throws Exception {
    train(plan(ADAMW, 10, "{kind: none}", "zero: 0", "none"), 2);
    long uncompressed = bytesSent(report());
    train(plan(ADAMW, 10, codec, "zero: 0", "some"), 2);
    JsonNode rank = report().path("ranks").path(0).path("compression");

    assertThat(rank.path("ratio").doubleValue()).isCloseTo(ratio, Offset.offset(0.06 * ratio));
    assertThat(rank.path("codec_ms").doubleValue()).isPositive();
    assertThat(rank.path("error_norm").doubleValue()).isPositive();
    double saved = (double) (uncompressed - bytesSent(report())) / uncompressed;
    assertThat(saved).isCloseTo(1 - 1 / ratio, Offset.offset(0.02)); // losses and norms aside
  }

  /** Whatever the layout: so many bytes less than a rank would have sent without compression. */
  @ParameterizedTest(name = "{1} on {0} ranks")
  @CsvSource(
      delimiter = '|',
      value = {
        "2 | zero: 0 | 1",
        "4 | zero: 1 | 1",
        "4 | zero: 2, shard_size: 2 | 2",
      })
  void bytesAreThoseOfTheRank(int ranks, String sharding, int shards) throws Exception {
    train(plan(ADAMW, 10, "{kind: fp16}", sharding, "some"), ranks);
    int copies = ranks / shards;
    double expected = 10 * 2.0 * (copies - 1) / copies * 4 * PARAMETERS / shards;
    for (JsonNode rank : report().path("ranks")) {
      JsonNode compression = rank.path("compression");
      assertThat(compression.path("uncompressed_bytes").doubleValue())
          .isCloseTo(expected, Offset.offset(100.0)); // each bucket's is rounded
      assertThat(compression.path("sent_bytes").doubleValue())
          .isCloseTo(expected / 2, Offset.offset(100.0));
    }
  }

  private static long bytesSent(JsonNode report) {
    return report.path("ranks").path(0).path("bytes_sent").path("data").longValue();
  }

  // --------------------------------------------------------------------------------- checkpoints

  static Stream<Arguments> resumed() {
    return Stream.of(
        Arguments.of("{kind: int8, block: 64}", ADAMW, "zero: 0", 2),
        Arguments.of("{kind: topk, density: 0.05, warmup_steps: 12}", ADAMW, "zero: 1", 3),
        Arguments.of("{kind: topk, density: 0.05, momentum: 0.9}", SGD, "zero: 0", 2),
        Arguments.of("{kind: threshold, threshold: 2.0e-4}", ADAMW, "zero: 0", 3),
        Arguments.of("{kind: threshold, min_density: 0.01, max_density: 0.1}", ADAMW, "zero: 0", 3),
        Arguments.of(
            "{kind: threshold, min_density: 0.01, max_density: 0.1}",
            ADAMW,
            "zero: 2, shard_size: 2",
            4),
        Arguments.of("{kind: onebit, warmup_steps: 5}", ADAMW, "zero: 1", 2),
        Arguments.of("{kind: onebit, warmup_steps: 12}", ADAMW, "zero: 2, shard_size: 2", 4),
        Arguments.of("{kind: powersgd, rank: 2, warmup_steps: 3}", ADAMW, "zero: 0", 2),
        Arguments.of(
            "{kind: powersgd, rank: 2, warmup_steps: 3}", ADAMW, "zero: 3, shard_size: 2", 4));
  }

  /** With the residuals: bit for bit what goes on without a break. */
  @Tag("long")
  @ParameterizedTest(name = "{0}, {2} on {3} ranks")
  @MethodSource("resumed")
  void aCheckpointGoesOnBitForBit(String codec, String optimizer, String sharding, int ranks)
      throws Exception {
    List<Double> whole = losses(train(plan(optimizer, STEPS, codec, sharding, "whole"), ranks));
    List<Double> parts = new ArrayList<>();
    parts.addAll(losses(train(plan(optimizer, HALF, codec, sharding, "parts"), ranks)));
    parts.addAll(losses(resume(plan(optimizer, STEPS, codec, sharding, "parts"), ranks)));

    assertThat(parts).isEqualTo(whole);
    for (String file : List.of("model.safetensors", "optimizer.safetensors")) {
      assertThat(folder.resolve("parts/step-000018").resolve(file))
          .hasSameBinaryContentAs(folder.resolve("whole/step-000018").resolve(file));
    }
  }

  /** What residuals held is lost; the model and the optimizer's state are not. */
  @ParameterizedTest(name = "on {0} ranks with {1}")
  @CsvSource(
      delimiter = '|',
      value = {
        "3 | {kind: int8, block: 64}",
        "2 | {kind: none}",
        "2 | {kind: powersgd, rank: 4, warmup_steps: 3}",
      })
  void anotherPlanOrOtherRanksGoOnWithoutResiduals(int ranks, String codec) throws Exception {
    List<Double> whole = losses(train(plan(ADAMW, STEPS, "{kind: none}", "zero: 0", "whole"), 2));
    train(plan(ADAMW, HALF, "{kind: int8, block: 64}", "zero: 0", "parts"), 2);
    List<Double> rest = losses(resume(plan(ADAMW, STEPS, codec, "zero: 0", "parts"), ranks));

    assertThat(rest).hasSize(STEPS - HALF);
    double learned = whole.get(0) - whole.get(STEPS - 1);
    assertThat(rest.get(rest.size() - 1))
        .isCloseTo(whole.get(STEPS - 1), Offset.offset(0.1 * learned));
  }

  /** Only where there is something to lose. */
  @Test
  void whatIsLostIsSaid() throws Exception {
    Files.writeString(
        folder.resolve("plan.yaml"), plan(ADAMW, STEPS, "{kind: none}", "zero: 0", "parts"));
    train(plan(ADAMW, HALF, "{kind: int8, block: 64}", "zero: 0", "parts"), 2);
    assertThat(resumeByCommand(2, "steps=" + (HALF + 1))).contains("residuals", "lost");
    assertThat(resumeByCommand(2, "communication.compression={kind: int8}"))
        .doesNotContain("residuals");
  }

  /** Buckets of stage 3 are layers: other elements of as many as those of stages 0 to 2 are. */
  @Tag("long")
  @ParameterizedTest(name = "from {0}, {1} to {2}")
  @CsvSource(
      delimiter = '|',
      value = {
        "{data: -1}               | zero: 3, shard_size: 2 | sharding.zero=2         | true",
        "{data: -1}               | zero: 0                | sharding.zero=1         | false",
        "{data: -1}               | zero: 0                | communication.bucket_mb=0.05 | true",
        "{data: -1}               | zero: 2, shard_size: 2 | sharding.offload=cpu;parallel.data=4"
            + " | false",
        "{data: -1, pipeline: 2}  | zero: 1                | parallel.data=2         | false",
        "{data: -1, pipeline: 2}  | zero: 0                | parallel.order=[pipeline, tensor, "
            + "context, data] | true",
      })
  void residualsOfOtherElementsAreLost(
      String parallel, String sharding, String settings, boolean isLost) throws Exception {
    String plan =
        plan(ADAMW, HALF, "{kind: int8, block: 64}", sharding, "parts")
            + "parallel: %s\n".formatted(parallel);
    train(plan, 4);
    Files.writeString(folder.resolve("plan.yaml"), plan);
    String[] all = ("steps=" + STEPS + ";" + settings).split(";");
    String warnings = resumeByCommand(4, all);
    assertThat(warnings.contains("residuals")).as(warnings).isEqualTo(isLost);
  }

  /** A checkpoint of a fixed threshold has none that an adaptive one could go on with. */
  @Tag("long")
  @Test
  void aThresholdThatBeginsToAdaptBeginsAnew() throws Exception {
    Files.writeString(
        folder.resolve("plan.yaml"), plan(ADAMW, STEPS, "{kind: threshold}", "zero: 0", "parts"));
    train(plan(ADAMW, HALF, "{kind: threshold}", "zero: 0", "parts"), 2);
    String adaptive =
        "communication.compression={kind: threshold, min_density: %s, max_density: 0.1}";
    assertThat(resumeByCommand(2, adaptive.formatted(0.01))).contains("residuals", "lost");
    train(plan(ADAMW, HALF, adaptive.formatted(0.01).split("=", 2)[1], "zero: 0", "parts"), 2);
    assertThat(resumeByCommand(2, adaptive.formatted(0.02))).doesNotContain("residuals");
  }

  private String resumeByCommand(int ranks, String... settings) throws Exception {
    List<String> arguments =
        new ArrayList<>(List.of("train", "plan.yaml", "--quiet", "--in-process", "--resume"));
    arguments.addAll(List.of("--workers", Integer.toString(ranks)));
    for (String setting : settings) {
      arguments.addAll(List.of("--set", setting));
    }
    Command.Outcome outcome = Command.in(folder).run(arguments.toArray(String[]::new));
    assertThat(outcome.status()).as(outcome.error()).isZero();
    return outcome.error();
  }

  /** Of another codec, of one rank that compressed nothing, of other elements. */
  @ParameterizedTest(name = "{0}, {1} on {2} ranks, then {3} on {4}")
  @CsvSource(
      delimiter = '|',
      value = {
        "{kind: none}                    | zero: 0                | 2 | zero: 0                | 2",
        "{kind: onebit, warmup_steps: 4} | zero: 0                | 1 | zero: 0                | 2",
        "{kind: onebit, warmup_steps: 4} | zero: 3, shard_size: 2 | 4 | zero: 2, shard_size: 2 | 4",
      })
  void oneBitAdamNeedsMomentsOfItsOwn(
      String codec, String sharding, int ranks, String nextSharding, int nextRanks)
      throws Exception {
    train(plan(ADAMW, HALF, codec, sharding, "parts"), ranks);
    String late = plan(ADAMW, STEPS, "{kind: onebit, warmup_steps: 4}", nextSharding, "parts");

    assertThatThrownBy(() -> resume(late, nextRanks))
        .isInstanceOf(ExecutionException.class)
        .cause()
        .isInstanceOf(BadCheckpointException.class)
        .hasMessageContaining("warmup_steps: 109");
  }

  /** One rank compresses nothing, and SGD has no moments. */
  @ParameterizedTest(name = "{0} on {1} ranks")
  @CsvSource(
      delimiter = '|',
      value = {ADAMW + " | 1", ADAMW + " | 3", SGD + " | 2"})
  void oneBitGoesOnWhereItNeedsNoOtherMoments(String optimizer, int ranks) throws Exception {
    String codec = "{kind: onebit, warmup_steps: 4}";
    String before = optimizer.equals(SGD) ? "{kind: none}" : codec;
    train(plan(optimizer, HALF, before, "zero: 0", "parts"), 2);
    assertThat(resume(plan(optimizer, STEPS, codec, "zero: 0", "parts"), ranks).steps())
        .hasSize(STEPS - HALF);
  }

  // -------------------------------------------------------------------------------- what is wrong

  /** It would stay in the residuals for ever. */
  @Test
  void aGradientThatIsNoNumberEndsTheJob() {
    String wild =
        plan(
            "{kind: sgd, lr: 1.0e+30}",
            5,
            "{kind: threshold, threshold: 1.0e-6}",
            "zero: 0",
            "wild");

    assertThatThrownBy(() -> InProcessJob.run(wild, 2, folder, Optional.empty()))
        .isInstanceOf(ExecutionException.class)
        .cause()
        .isInstanceOf(NotFiniteException.class)
        .hasMessageContaining("In step 2 this rank's gradients")
        .hasMessageContaining("optimizer.lr");
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "sharding.zero=2 | zero 2 saves; write 'kind: none', 'zero: 1', or a shard_size below",
        "communication.compression={kind: topk, momentum: 0.9} | it wants sgd with momentum 0",
        "communication.compression={kind: onebit, warmup_steps: 0} | write at least 1",
      })
  void whatCannotBeIsOneMessage(String setting, String message) throws Exception {
    Files.writeString(
        folder.resolve("plan.yaml"), plan(ADAMW, 3, "{kind: fp16}", "zero: 0", "refused"));
    Command.Outcome outcome =
        Command.in(folder).run("train", "plan.yaml", "--workers", "2", "--set", setting);

    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.error()).contains(message);
  }

  /** Between processes a codec's messages travel through the ranks' own transport. */
  @Tag("long")
  @Test
  void processesGiveWhatThreadsGive() throws Exception {
    String plan = plan(ADAMW, 6, "{kind: int8, block: 64}", "zero: 1", "threads");
    List<Double> threads = losses(train(plan, 2));
    Files.writeString(folder.resolve("plan.yaml"), plan);
    Command.Outcome outcome =
        Command.in(folder).run("train", "plan.yaml", "--quiet", "--workers", "2");

    assertThat(outcome.status()).as(outcome.error()).isZero();
    assertThat(
            report()
                .path("steps")
                .valueStream()
                .map(step -> step.path("loss").doubleValue())
                .toList())
        .isEqualTo(threads);
  }

  // -------------------------------------------------------------------------------------- helpers

  /** Goes on from the newest checkpoint in {@code parts}. */
  private InProcessJob.Run resume(String plan, int ranks) throws Exception {
    return InProcessJob.run(plan, ranks, folder, Optional.of(folder.resolve("parts")));
  }

  private InProcessJob.Run train(String plan, int ranks) throws Exception {
    return InProcessJob.run(plan, ranks, folder, Optional.empty());
  }

  private JsonNode report() throws Exception {
    return new ObjectMapper().readTree(folder.resolve("report.json").toFile());
  }

  private static List<Double> losses(InProcessJob.Run run) {
    return run.steps().stream().map(StepRecord::loss).toList();
  }
}
