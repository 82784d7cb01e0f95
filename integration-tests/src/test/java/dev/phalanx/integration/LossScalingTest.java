package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.trainer.StepRecord;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.assertj.core.data.Offset;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Training in fp16: near fp32, the same in every layout, and past gradients that are too large. */
@Timeout(120)
final class LossScalingTest {
  /**
   * Each number of the computation is rounded to 11 bits. The losses are near 5.5, their logits
   * below 1, which are off by 2^-12 at most each; their mean over 256 tokens is off by much less.
   * Over the steps the weights drift apart by what gradients are off, some 2^-11 of an update of
   * 1e-3 an element.
   */
  private static final Offset<Double> NEAR_FP32 = Offset.offset(1e-3);

  @TempDir private Path folder = Path.of("");

  @Test
  void fp16StaysNearTheReferenceCurve() throws Exception {
    Reference.Curve curve = Reference.Curve.CLIP;
    List<StepRecord> steps =
        InProcessJob.run(
                Reference.plan(curve, 50, 4, "precision: fp16\n"), 2, folder, Optional.empty())
            .steps();

    for (int step = 0; step < steps.size(); step++) {
      StepRecord found = steps.get(step);
      assertThat(found.loss())
          .as("loss of step %d", step)
          .isCloseTo(curve.losses()[step], NEAR_FP32);
      assertThat(found.gradientNorm())
          .as("norm of step %d", step)
          .isCloseTo(curve.gradientNorms()[step], Percentage.withPercentage(1));
      assertThat(found.lossScale()).hasValue(65536);
      assertThat(found.isSkipped()).isFalse();
    }
  }

  private static final String PLAN =
      """
      precision: fp16
      loss_scaling: {initial: %s, growth_interval: 3}
      model: {family: llama, layers: 2, hidden: 20, heads: 2, ffn_hidden: 37, sequence: 12, vocab: 61}
      data: {kind: reference}
      batch: {global: 12, micro: 1}
      optimizer: {kind: adamw, lr: 1.0e-2, clip_grad_norm: 1.0}
      steps: %d
      threads: 1
      communication: {bucket_mb: 0.01, algorithm: ring}
      """;

  private static final String HUGE = "1.0e+9";
  private static final int STEPS = 26;
  private static final List<StepRecord> ON_ONE_RANK = new ArrayList<>(); // once there

  private List<StepRecord> onOneRank() throws Exception {
    if (ON_ONE_RANK.isEmpty()) {
      ON_ONE_RANK.addAll(steps(PLAN.formatted(HUGE, STEPS), 1));
    }
    return ON_ONE_RANK;
  }

  /** The first steps are skipped; then the scale is doubled until it is too large again. */
  @ParameterizedTest(name = "stage {0} of {1} ranks, shards of {2}")
  @CsvSource({"0, 2, -1", "1, 2, -1", "2, 2, -1", "3, 2, -1", "0, 4, -1", "3, 4, 2"})
  void everyLayoutSkipsTheSameStepsAndRecovers(int stage, int ranks, int shardSize)
      throws Exception {
    String sharding =
        stage == 0 ? "" : "sharding: {zero: %d, shard_size: %d}\n".formatted(stage, shardSize);
    List<StepRecord> one = onOneRank();
    List<StepRecord> found = steps(PLAN.formatted(HUGE, STEPS) + sharding, ranks);

    assertThat(one.get(0).isSkipped()).isTrue();
    assertThat(one.get(STEPS - 1).loss()).isLessThan(0.9 * one.get(0).loss());
    assertThat(one.stream().skip(12).anyMatch(StepRecord::isSkipped)).as("it grows").isTrue();
    for (int step = 0; step < one.size(); step++) {
      assertThat(found.get(step).isSkipped())
          .as("step %d is skipped", step)
          .isEqualTo(one.get(step).isSkipped());
      assertThat(found.get(step).lossScale()).isEqualTo(one.get(step).lossScale());
      assertThat(found.get(step).loss())
          .as("loss of step %d", step)
          .isCloseTo(one.get(step).loss(), Percentage.withPercentage(0.1));
    }
  }

  /** Of which the backward pass holds every number, but the cast to fp16 not every gradient. */
  private static final String LARGE = "2097152";

  /**
   * A rank that went on alone would have another scale and other parameters from then on. With
   * shards each rank sees its own part of the sums only, and with two shards and two copies what is
   * cast is what two ranks cast.
   */
  @ParameterizedTest(name = "{0}, {1} on {2} ranks")
  @CsvSource(
      delimiter = '|',
      value = {
        "fp16 | " + LARGE + " | zero: 1                | 2",
        "fp16 | " + LARGE + " | zero: 2, shard_size: 2 | 4",
        "bf16 | " + HUGE + " | zero: 1                | 2",
        "bf16 | " + HUGE + " | zero: 2, shard_size: 2 | 4",
      })
  void whatIsNotFiniteAfterACastSkipsTheStepOnAllRanks(
      String codec, String scale, String sharding, int ranks) throws Exception {
    String plan =
        PLAN.formatted(scale, STEPS)
            .replace("algorithm: ring", "algorithm: ring, compression: {kind: " + codec + "}");
    List<StepRecord> whole = steps(plan, 2);
    List<StepRecord> found = steps(plan + "sharding: {" + sharding + "}\n", ranks);

    assertThat(whole.get(0).isSkipped()).isTrue();
    assertThat(whole.get(STEPS - 1).loss()).isLessThan(0.9 * whole.get(0).loss());
    for (int step = 0; step < STEPS; step++) {
      assertThat(found.get(step).isSkipped()).isEqualTo(whole.get(step).isSkipped());
      assertThat(found.get(step).lossScale()).isEqualTo(whole.get(step).lossScale());
      assertThat(found.get(step).loss())
          .as("loss of step %d", step)
          .isCloseTo(whole.get(step).loss(), Percentage.withPercentage(1));
    }
  }

  @Test
  void withoutACastThatScaleIsNotTooLarge() throws Exception {
    assertThat(steps(PLAN.formatted(LARGE, 1), 2).get(0).isSkipped()).isFalse();
  }

  @Test
  void aSkippedStepLeavesTheParametersAndTheMomentsAlone() throws Exception {
    List<StepRecord> scaled = onOneRank();
    int skipped = 0;
    while (scaled.get(skipped).isSkipped()) {
      skipped++;
    }
    double scale = scaled.get(skipped).lossScale().orElseThrow();
    assertThat(scale).isEqualTo(Math.scalb(1.0e9, -skipped));
    for (int step = 1; step <= skipped; step++) {
      // Other samples, but the same parameters, of which each token has one of 61: about log 61.
      assertThat(scaled.get(step).loss()).isCloseTo(Math.log(61), Offset.offset(0.1));
    }
  }

  /** Another stage adds up the norm in another order, and fp16 makes more of a last bit. */
  @ParameterizedTest(name = "stage {0}")
  @CsvSource({"0, 0.0", "3, 0.1"})
  void theScaleGoesOnFromACheckpoint(int stage, double percent) throws Exception {
    String saved = "checkpoint: {dir: saved, every: 13}\n";
    List<StepRecord> whole = steps(PLAN.formatted(HUGE, 26) + saved, 2);
    List<StepRecord> rest =
        InProcessJob.run(
                PLAN.formatted(65536, 26) + "sharding: {zero: %d}\n".formatted(stage),
                2,
                folder,
                Optional.of(folder.resolve("saved/step-000013")))
            .steps();

    assertThat(rest).hasSize(13);
    for (int step = 0; step < rest.size(); step++) {
      assertThat(rest.get(step).lossScale()).isEqualTo(whole.get(step + 13).lossScale());
      assertThat(rest.get(step).isSkipped()).isEqualTo(whole.get(step + 13).isSkipped());
      assertThat(rest.get(step).loss())
          .isCloseTo(whole.get(step + 13).loss(), Percentage.withPercentage(percent));
    }
  }

  /** A threshold is of gradients without a scale, and so is what it leaves for later steps. */
  @Test
  void aJobInFp16GoesOnInFp32WithoutAScale() throws Exception {
    String saved = "checkpoint: {dir: saved, every: 13}\n";
    steps(PLAN.formatted(HUGE, 13) + saved, 2);
    String plan =
        PLAN.formatted(HUGE, 26)
            .replace("loss_scaling: {initial: " + HUGE + ", growth_interval: 3}\n", "")
            .replace("fp16", "fp32")
            .replace(
                "algorithm: ring",
                "algorithm: ring, compression: {kind: threshold, threshold: 0.001}");
    List<StepRecord> rest =
        InProcessJob.run(plan, 2, folder, Optional.of(folder.resolve("saved/step-000013"))).steps();

    assertThat(rest).hasSize(13);
    for (StepRecord step : rest) {
      assertThat(step.lossScale()).isEmpty();
      assertThat(step.gradientNorm()).isBetween(1e-3, 10.0);
    }
  }

  @Test
  void theReportTellsOfSkippedSteps() throws Exception {
    steps(PLAN.formatted(HUGE, 20) + "log: {report: report.json}\n", 2);
    JsonNode steps =
        new ObjectMapper().readTree(folder.resolve("report.json").toFile()).path("steps");

    assertThat(steps.path(0).path("skipped").booleanValue()).isTrue();
    assertThat(steps.path(0).path("loss_scale").doubleValue()).isEqualTo(1e9);
    assertThat(steps.path(0).path("grad_norm").isNull()).isTrue();
    assertThat(steps.path(19).path("skipped").booleanValue()).isFalse();
    assertThat(steps.path(19).path("grad_norm").doubleValue()).isPositive();
  }

  private List<StepRecord> steps(String plan, int ranks) throws Exception {
    return InProcessJob.run(plan, ranks, folder, Optional.empty()).steps();
  }
}
