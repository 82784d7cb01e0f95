package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.trainer.StepRecord;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Optimizers that look at whole parameters give one answer, however those are divided. */
@Timeout(120)
final class OptimizerLayoutTest {
  private static final int STEPS = 6;

  /** Neither the parameters' sizes nor the buckets are multiples of the ranks. */
  private static final String PLAN =
      """
      precision: %s
      model: {family: llama, layers: 2, hidden: 20, heads: 2, ffn_hidden: 37, sequence: 12, vocab: 61}
      data: {kind: reference}
      batch: {global: 12, micro: 1}
      optimizer: {kind: %s, lr: 1.0e-2, clip_grad_norm: 1.0}
      steps: %d
      threads: 1
      communication: {bucket_mb: 0.01, algorithm: ring}
      """;

  private static final Map<String, double[]> WHOLE = new HashMap<>(); // stage 0, by plan and ranks

  @TempDir private Path folder = Path.of("");

  /**
   * Ranks of one number add up gradients in one order, but at the ends of parts, so only last bits
   * differ; where they do, bf16 may round a value to its neighbour, which is 2^-8 away.
   */
  @ParameterizedTest(name = "{0}, {1}: stage {2} of {3} ranks")
  @CsvSource({
    "fp32, lamb, 1, 2, -1",
    "fp32, lamb, 2, 3, -1",
    "fp32, lamb, 3, 2, -1",
    "fp32, lamb, 3, 4, -1",
    "fp32, lamb, 3, 4, 2",
    "bf16, lamb, 1, 3, -1",
    "bf16, lamb, 3, 2, -1",
    "fp32, muon, 1, 2, -1",
    "fp32, muon, 2, 3, -1",
    "fp32, muon, 3, 2, -1",
    "fp32, muon, 3, 4, -1",
    "fp32, muon, 3, 4, 2",
    "bf16, muon, 1, 3, -1",
    "bf16, muon, 3, 2, -1",
  })
  void everyStageGivesWhatStageZeroGives(
      String precision, String optimizer, int stage, int ranks, int shardSize) throws Exception {
    double[] whole = whole(precision, optimizer, ranks);
    double[] sharded =
        run(
            precision,
            optimizer,
            ranks,
            "sharding: {zero: %d, shard_size: %d}\n".formatted(stage, shardSize));

    assertClose(sharded, whole, precision.equals("bf16") ? 1e-4 : 1e-6);
  }

  /** Each matrix is made orthogonal whole; a sum of two knows no order; no norm is asked for. */
  @ParameterizedTest(name = "{0}, stage {1}")
  @CsvSource({"fp32, 1", "fp32, 2", "fp32, 3", "bf16, 1", "bf16, 3"})
  void muonGivesTheSameBitsInEveryStage(String precision, int stage) throws Exception {
    String unclipped =
        plan(precision, "muon", "")
            .replace(", clip_grad_norm: 1.0", "")
            .replace("micro: 1", "micro: 6");
    InProcessJob.Run whole = InProcessJob.run(unclipped, 2, folder, Optional.empty());
    InProcessJob.Run sharded =
        InProcessJob.run(
            unclipped + "sharding: {zero: %d}\n".formatted(stage), 2, folder, Optional.empty());

    assertThat(losses(sharded)).isEqualTo(losses(whole));
  }

  /** Beyond AdamW's: for LAMB 16 bytes a parameter, for Muon what its owner does not hold. */
  @ParameterizedTest(name = "{0}")
  @CsvSource({"lamb", "muon"})
  void whatWholeParametersCostOnTheWayIsSmall(String optimizer) throws Exception {
    long extra = bytesOfAStep(optimizer) - bytesOfAStep("adamw");

    long hidden = 2L * (3 * 20 * 20 + 20 * 20 + 2 * 37 * 20 + 20 * 37);
    long parameters = 1 + 2 * 6 + 1; // a tied table; two layers of two norms, four matrices; a norm
    if (optimizer.equals("lamb")) { // a small message may go round whole
      assertThat(extra).isBetween(16 * parameters, 2 * 2 * 16 * parameters);
    } else {
      assertThat(extra).isBetween(1L, 8 * hidden);
    }
  }

  /** Over both ranks. */
  private long bytesOfAStep(String optimizer) throws Exception {
    long[] sent = new long[2];
    for (int longer = 0; longer < 2; longer++) {
      String plan =
          PLAN.formatted("fp32", optimizer, 2 + longer)
              + "sharding: {zero: 3}\nlog: {report: report.json}\n";
      InProcessJob.run(plan, 2, folder, Optional.empty());
      JsonNode report = new ObjectMapper().readTree(folder.resolve("report.json").toFile());
      for (JsonNode rank : report.path("ranks")) {
        sent[longer] += rank.path("bytes_sent").path("data").longValue();
      }
    }
    return sent[1] - sent[0];
  }

  @ParameterizedTest(name = "{0}, {1}: {2} ranks")
  @CsvSource({
    "fp32, lamb, 2",
    "fp32, lamb, 3",
    "fp32, lamb, 4",
    "fp32, muon, 2",
    "fp32, muon, 3",
    "fp32, muon, 4"
  })
  void everyNumberOfRanksGivesWhatOneGives(String precision, String optimizer, int ranks)
      throws Exception {
    assertClose(whole(precision, optimizer, ranks), whole(precision, optimizer, 1), 1e-6);
  }

  @ParameterizedTest(name = "{0}: from stage {1} of {2} ranks to stage {3} of {4}")
  @CsvSource({"lamb, 3, 2, 0, 1", "muon, 3, 2, 0, 1", "muon, 0, 1, 2, 3"})
  void aCheckpointFitsEveryLayout(
      String optimizer, int stage, int ranks, int nextStage, int nextRanks) throws Exception {
    String saved = "checkpoint: {dir: saved, every: 3}\n";
    Path from = folder.resolve("saved/step-000003");
    run("fp32", optimizer, ranks, "sharding: {zero: %d}\n%s".formatted(stage, saved));
    double[] rest =
        losses(
            InProcessJob.run(
                plan("fp32", optimizer, "sharding: {zero: %d}\n".formatted(nextStage)),
                nextRanks,
                folder,
                Optional.of(from)));

    double[] whole = whole("fp32", optimizer, 1);
    assertClose(rest, Arrays.copyOfRange(whole, 3, STEPS), 1e-6);
  }

  private double[] whole(String precision, String optimizer, int ranks) throws Exception {
    String key = precision + optimizer + ranks;
    double[] known = WHOLE.get(key);
    double[] losses = known == null ? run(precision, optimizer, ranks, "") : known;
    WHOLE.put(key, losses);
    return losses;
  }

  private double[] run(String precision, String optimizer, int ranks, String more)
      throws Exception {
    return losses(
        InProcessJob.run(plan(precision, optimizer, more), ranks, folder, Optional.empty()));
  }

  private static String plan(String precision, String optimizer, String more) {
    return PLAN.formatted(precision, optimizer, STEPS) + more;
  }

  private static double[] losses(InProcessJob.Run run) {
    return run.steps().stream().mapToDouble(StepRecord::loss).toArray();
  }

  private static void assertClose(double[] found, double[] expected, double tolerance) {
    assertThat(found).hasSameSizeAs(expected);
    for (int step = 0; step < found.length; step++) {
      assertThat(found[step])
          .as("loss of step %d", step + 1)
          .isCloseTo(expected[step], Percentage.withPercentage(100 * tolerance));
    }
  }
}
