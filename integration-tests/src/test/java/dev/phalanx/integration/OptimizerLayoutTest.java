package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.phalanx.tensor.Sample;
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
  @ParameterizedTest(name = "{0}, stage {1}, tensor {2}")
  @CsvSource({
    "fp32, 1, 1",
    "fp32, 2, 1",
    "fp32, 3, 1",
    "bf16, 1, 1",
    "bf16, 3, 1",
    "fp32, 1, 2",
    "fp32, 3, 2",
    "bf16, 3, 2"
  })
  void muonGivesTheSameBitsInEveryStage(String precision, int stage, int tensor) throws Exception {
    String unclipped =
        plan(precision, "muon", "parallel: {tensor: %d}\n".formatted(tensor))
            .replace(", clip_grad_norm: 1.0", "")
            .replace("micro: 1", "micro: 6")
            .replace("ffn_hidden: 37", "ffn_hidden: 38");
    int ranks = 2 * tensor;
    InProcessJob.Run whole = InProcessJob.run(unclipped, ranks, folder, Optional.empty());
    InProcessJob.Run sharded =
        InProcessJob.run(
            unclipped + "sharding: {zero: %d}\n".formatted(stage), ranks, folder, Optional.empty());

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

  /** Tied tables, copied norms, key and value heads of several ranks, rows of padding. */
  private static final String DIVIDED =
      """
      model: {family: %s, layers: 2, hidden: 24, heads: 4, kv_heads: %d, ffn_hidden: 36,
              sequence: 12, vocab: 250, tied_embeddings: %b}
      data: {kind: reference}
      batch: {global: 8, micro: %d}
      optimizer: {kind: %s, lr: 1.0e-2, clip_grad_norm: 1.0}
      steps: %d
      threads: 1
      communication: {bucket_mb: 0.01}
      """;

  private static final Map<String, Curves> ONE_RANK = new HashMap<>(); // by model and optimizer

  /** Parts of a parameter that ranks divide count as one, and copies of one once. */
  @Sample(4)
  @ParameterizedTest(name = "{0}, {1}, {2} key heads, tied {3}: {5} on {4} ranks")
  @CsvSource(
      delimiter = '|',
      value = {
        "lamb | gpt2  | 4 | true  | 2 | parallel: {tensor: 2}",
        "lamb | gpt2  | 4 | true  | 4 | parallel: {tensor: 4, sequence_parallel: true}",
        "lamb | llama | 2 | false | 4 | parallel: {tensor: 4}",
        "lamb | llama | 1 | true  | 4 | parallel: {tensor: 4, sequence_parallel: true}",
        "lamb | gpt2  | 4 | true  | 4 | parallel: {tensor: 2};sharding: {zero: 1}",
        "lamb | llama | 2 | false | 8 | parallel: {tensor: 4};sharding: {zero: 3}",
        "lamb | llama | 2 | false | 8 | parallel: {tensor: 2, order: [data, tensor, context,"
            + " pipeline]};sharding: {zero: 3, shard_size: 2}",
        "lamb | gpt2  | 4 | true  | 4 | parallel: {tensor: 2, pipeline: 2}",
        "lamb | llama | 1 | true  | 8 | parallel: {tensor: 2, pipeline: 2, sequence_parallel:"
            + " true};sharding: {zero: 2}",
        "lamb | llama | 2 | false | 8 | parallel: {tensor: 2, context: 2};sharding: {zero: 1}",
        "muon | gpt2  | 4 | true  | 2 | parallel: {tensor: 2}",
        "muon | gpt2  | 4 | true  | 4 | parallel: {tensor: 4, sequence_parallel: true}",
        "muon | llama | 2 | false | 4 | parallel: {tensor: 4}",
        "muon | llama | 1 | true  | 4 | parallel: {tensor: 4, sequence_parallel: true}",
        "muon | gpt2  | 4 | true  | 4 | parallel: {tensor: 2};sharding: {zero: 1}",
        "muon | llama | 2 | false | 8 | parallel: {tensor: 4};sharding: {zero: 3}",
        "muon | llama | 2 | false | 8 | parallel: {tensor: 2, order: [data, tensor, context,"
            + " pipeline]};sharding: {zero: 3, shard_size: 2}",
        "muon | gpt2  | 4 | true  | 4 | parallel: {tensor: 2, pipeline: 2}",
        "muon | llama | 1 | true  | 8 | parallel: {tensor: 2, pipeline: 2, sequence_parallel:"
            + " true};sharding: {zero: 2}",
        "muon | llama | 2 | false | 8 | parallel: {tensor: 2, context: 2};sharding: {zero: 1}",
      })
  void ranksThatDivideParametersGiveWhatOneGives(
      String optimizer, String family, int keyHeads, boolean tied, int ranks, String layout)
      throws Exception {
    Curves one = oneRank(optimizer, family, keyHeads, tied);
    String divided = divided(optimizer, family, keyHeads, tied, 2) + layout.replace(';', '\n');

    Curves.of(InProcessJob.run(divided, ranks, folder, Optional.empty())).assertFollows(one);
  }

  /** Whole tensors are saved, and each rank reads what it holds of them. */
  @ParameterizedTest(name = "{0}: from {1} on {2} ranks to {3} on {4}")
  @CsvSource(
      delimiter = '|',
      value = {
        "lamb | parallel: {tensor: 4};sharding: {zero: 1} | 8 | parallel: {pipeline: 2} | 2",
        "lamb | parallel: {data: 2} | 2 | parallel: {tensor: 2};sharding: {zero: 3} | 4",
        "muon | parallel: {tensor: 4};sharding: {zero: 1} | 8 | parallel: {pipeline: 2} | 2",
        "muon | parallel: {data: 2} | 2 | parallel: {tensor: 2};sharding: {zero: 3} | 4",
      })
  void aCheckpointGoesOnWhereOtherRanksDivideParameters(
      String optimizer, String from, int ranks, String to, int otherRanks) throws Exception {
    String plan = divided(optimizer, "llama", 2, false, 2);
    String saved = plan + "checkpoint: {dir: saved, every: 3}\n" + from.replace(';', '\n');
    InProcessJob.run(saved, ranks, folder, Optional.empty());
    InProcessJob.Run rest =
        InProcessJob.run(
            plan + to.replace(';', '\n'),
            otherRanks,
            folder,
            Optional.of(folder.resolve("saved/step-000003")));

    Curves.of(rest).assertFollows(oneRank(optimizer, "llama", 2, false).from(3));
  }

  private Curves oneRank(String optimizer, String family, int keyHeads, boolean tied)
      throws Exception {
    String plan = divided(optimizer, family, keyHeads, tied, 8);
    Curves known = ONE_RANK.get(plan);
    Curves one =
        known == null ? Curves.of(InProcessJob.run(plan, 1, folder, Optional.empty())) : known;
    ONE_RANK.put(plan, one);
    return one;
  }

  private static String divided(
      String optimizer, String family, int keyHeads, boolean tied, int micro) {
    return DIVIDED.formatted(family, keyHeads, tied, micro, optimizer, STEPS);
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
