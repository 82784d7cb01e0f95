package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Sample;
import dev.phalanx.trainer.StepRecord;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
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
    return Stream.of(1, 2, 3)
        .flatMap(
            stage ->
                Stream.of(
                    Arguments.of(Reference.Curve.CLIP_COSINE, stage, 2, 1),
                    Arguments.of(Reference.Curve.CLIP_COSINE, stage, 4, 2),
                    Arguments.of(Reference.Curve.CLIP_COSINE, stage, 2, 4),
                    Arguments.of(Reference.Curve.CLIP_COSINE, stage, 4, 1),
                    Arguments.of(Reference.Curve.PLAIN, stage, 2, 2),
                    Arguments.of(Reference.Curve.CLIP, stage, 2, 2)));
  }

  @Sample(4)
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
  @ParameterizedTest(name = "stage {0} within {1} of {2} ranks")
  @CsvSource({"1, -1, 4", "2, -1, 4", "3, -1, 4", "3, 2, 4", "2, -1, 3", "3, -1, 3"})
  void processesGiveTheReferenceCurve(int stage, int shardSize, int ranks) throws Exception {
    Reference.Curve curve = Reference.Curve.CLIP_COSINE;
    String sharding = "sharding: {zero: %d, shard_size: %d}\n".formatted(stage, shardSize);
    String small = "communication: {bucket_mb: 0.05}\n"; // several of them at a time
    JsonNode report = train(Reference.plan(curve, STEPS, 2, sharding + small), ranks);

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
  @Sample(3)
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

  /**
   * A model of GPT-2's form with tied embeddings.
   *
   * @param batch a multiple of the ranks
   */
  private record Sizes(int layers, long hidden, long inner, int sequence, long vocab, int batch) {
    /** Those of the reference: each of them is a multiple of the ranks. */
    static final Sizes EVEN = new Sizes(2, 64, 256, 32, 256, 8);

    static final Sizes UNEVEN = new Sizes(3, 70, 301, 31, 257, 12);

    /** Elements of what is read together, parameter by parameter, in the order of use. */
    List<List<Long>> groups() {
      List<List<Long>> groups = new ArrayList<>();
      groups.add(List.of(vocab * hidden, sequence * hidden));
      for (int layer = 0; layer < layers; layer++) {
        List<Long> group = new ArrayList<>(List.of(hidden, hidden)); // gain and bias of a norm
        group.addAll(List.of(3 * hidden * hidden, 3 * hidden, hidden * hidden, hidden));
        group.addAll(List.of(hidden, hidden));
        group.addAll(List.of(inner * hidden, inner, hidden * inner, hidden));
        groups.add(group);
      }
      groups.get(layers).addAll(List.of(hidden, hidden)); // the norm after the last layer
      return groups;
    }

    long elements() {
      return groups().stream().flatMap(List::stream).mapToLong(Long::longValue).sum();
    }

    /** With what makes each bucket a multiple of the ranks that divide it. */
    long padded(int stage, int ranks) {
      if (stage == 0) {
        return elements();
      }
      return (stage == 3 ? groups() : buckets())
          .stream().mapToLong(bucket -> padded(bucket, ranks)).sum();
    }

    private static long padded(List<Long> bucket, int ranks) {
      long count = bucket.stream().mapToLong(Long::longValue).sum();
      return (count + ranks - 1) / ranks * ranks;
    }

    /** From the last parameter to the first; one ends with what brings it to its size. */
    private List<List<Long>> buckets() {
      List<Long> reversed = new ArrayList<>(groups().stream().flatMap(List::stream).toList());
      Collections.reverse(reversed);
      List<List<Long>> buckets = new ArrayList<>();
      long open = Long.MAX_VALUE;
      for (long size : reversed) {
        if (open >= BUCKET_BYTES) {
          buckets.add(new ArrayList<>());
          open = 0;
        }
        buckets.get(buckets.size() - 1).add(size);
        open += 4 * size;
      }
      return buckets;
    }

    /** Of the layer that stage 3 keeps from the forward to the backward pass. */
    long lastPadded(int ranks) {
      return padded(groups().get(layers), ranks);
    }
  }

  private static final double BUCKET_MB = 0.05;
  private static final long BUCKET_BYTES = (long) (BUCKET_MB * (1 << 20));

  static Stream<Arguments> formulas() {
    Stream<Arguments> even =
        Stream.of(
            Arguments.of("fp32", Sizes.EVEN, 0, 2, true),
            Arguments.of("fp32", Sizes.EVEN, 1, 2, true),
            Arguments.of("fp32", Sizes.EVEN, 2, 2, true),
            Arguments.of("fp32", Sizes.EVEN, 3, 2, true),
            Arguments.of("fp32", Sizes.EVEN, 3, 4, true),
            Arguments.of("fp32", Sizes.EVEN, 3, 4, false));
    Stream<Arguments> uneven =
        Stream.of("fp32", "bf16")
            .flatMap(
                precision ->
                    Stream.of(0, 1, 2, 3)
                        .map(stage -> Arguments.of(precision, Sizes.UNEVEN, stage, 3, true)));
    return Stream.concat(even, uneven);
  }

  /**
   * Values, gradients and Adam's two moments, with master values where the computation's are
   * narrower, by Rajbhandari et al. (2020), figure 1.
   */
  @Sample(3)
  @ParameterizedTest(name = "{0}, {1}, stage {2} on {3} ranks, resharding {4}")
  @MethodSource("formulas")
  void memoryAndTrafficAreTheFormulas(
      String precision, Sizes sizes, int stage, int ranks, boolean reshards) throws Exception {
    JsonNode shorter = reportOf(precision, sizes, stage, ranks, reshards, 4);
    JsonNode longer = reportOf(precision, sizes, stage, ranks, reshards, 14);
    long padded = sizes.padded(stage, ranks);
    long valueBytes = precision.equals("fp32") ? 4 : 2;
    long stateBytes = precision.equals("fp32") ? 8 : 12;
    for (int rank = 0; rank < ranks; rank++) {
      JsonNode held = longer.path("ranks").path(rank);
      assertThat(held.path("parameter_bytes").longValue())
          .isEqualTo(valueBytes * (stage == 3 ? padded / ranks : padded));
      assertThat(held.path("gradient_bytes").longValue())
          .isEqualTo(4 * (stage >= 2 ? padded / ranks : padded));
      assertThat(held.path("optimizer_bytes").longValue())
          .isEqualTo(stateBytes * (stage >= 1 ? padded / ranks : padded));
      long sentInTenSteps = bytesSent(longer, rank) - bytesSent(shorter, rank);
      long perStep = (ranks - 1) * travelling(sizes, stage, ranks, reshards, valueBytes) / ranks;
      assertThat(sentInTenSteps / 10)
          .as("bytes sent by rank %d in a step", rank)
          .isBetween(perStep - (stage == 0 ? MOST_OTHER_BYTES : 0), perStep + MOST_OTHER_BYTES);
    }
  }

  /** Bytes that all ranks together get to know, gradients as fp32. */
  private static long travelling(
      Sizes sizes, int stage, int ranks, boolean reshards, long valueBytes) {
    long padded = sizes.padded(stage, ranks);
    if (stage == 0) {
      return 2 * 4 * padded;
    }
    long gathered = stage == 3 && reshards ? 2 * padded - sizes.lastPadded(ranks) : padded;
    return 4 * padded + valueBytes * gathered;
  }

  private JsonNode reportOf(
      String precision, Sizes sizes, int stage, int ranks, boolean reshards, int steps)
      throws Exception {
    String plan =
        """
        precision: %s
        model: {family: gpt2, layers: %d, hidden: %d, heads: 2, ffn_hidden: %d, sequence: %d, vocab: %d}
        data: {kind: reference}
        batch: {global: %d, micro: %d}
        optimizer: {kind: adamw, lr: 1.0e-3, clip_grad_norm: 0.5}
        steps: %d
        threads: 1
        communication: {algorithm: ring, bucket_mb: %s}
        sharding: {zero: %d, reshard_after_forward: %b}
        log: {report: report.json}
        """
            .formatted(
                precision,
                sizes.layers(),
                sizes.hidden(),
                sizes.inner(),
                sizes.sequence(),
                sizes.vocab(),
                sizes.batch(),
                sizes.batch() / ranks,
                steps,
                BUCKET_MB,
                stage,
                reshards);
    InProcessJob.run(plan, ranks, folder, Optional.empty());
    return new ObjectMapper().readTree(folder.resolve("report.json").toFile());
  }

  /**
   * Loss, votes for a stop, norm; more or less parts of buckets, which are not equal in stage 0.
   */
  private static final long MOST_OTHER_BYTES = 400;

  private static long bytesSent(JsonNode report, int rank) {
    return report.path("ranks").path(rank).path("bytes_sent").path("data").longValue();
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
