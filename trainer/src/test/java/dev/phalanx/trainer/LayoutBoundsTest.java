package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.tensor.Sample;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.JobConfigValidator;
import dev.phalanx.trainer.config.ParsedPlan;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A search leaves out what these bounds rule out, so a rehearsal must never fall below them. */
@Timeout(120)
final class LayoutBoundsTest {
  private static final int RANKS = 16;

  private static final Cluster CLUSTER = cluster(4);

  /** Of some devices a host, and links that are slow beside devices: communication shows. */
  private static Cluster cluster(int devicesPerHost) {
    return new Cluster(
        devicesPerHost, 1e12, 1e9, 1e11, new Cluster.Link(1e9, 1e-6), new Cluster.Link(1e8, 1e-5));
  }

  private static final List<String> MODELS =
      List.of(
          "family: gpt2, layers: 8, hidden: 64, heads: 8, sequence: 32, vocab: 250",
          "family: llama, layers: 10, hidden: 64, heads: 8, kv_heads: 4, sequence: 32, vocab: 97,"
              + " ffn_hidden: 96, tied_embeddings: false",
          "family: llama, layers: 8, hidden: 32, heads: 4, sequence: 64, vocab: 64, ffn_hidden: 48,"
              + " experts: {count: 4, top_k: 2}");

  private static final List<String> SCHEDULES =
      List.of("1f1b", "gpipe", "interleaved, virtual_stages: 2", "zb-h1", "zb-h2");

  /** Those of many that a job may have. */
  private static Stream<ParsedPlan> plans() {
    Random random = new Random(11);
    return Stream.generate(() -> plan(random))
        .filter(plan -> JobConfigValidator.problemsOf(plan, RANKS).isEmpty())
        .limit(60);
  }

  private static <T> T oneOf(Random random, List<T> choices) {
    return choices.get(random.nextInt(choices.size()));
  }

  private static ParsedPlan plan(Random random) {
    List<Integer> sizes = new ArrayList<>(); // of tensor, pipeline, context
    int data = RANKS;
    for (int i = 0; i < 3; i++) {
      int size = Math.min(data, 1 << random.nextInt(i == 2 ? 2 : 3));
      sizes.add(size);
      data /= size;
    }
    String yaml =
        """
        precision: %s
        model: {%s, recompute: %s}
        data: {kind: reference}
        batch: {global: 64, micro: %d}
        optimizer: {kind: %s, lr: 1.0e-4}
        steps: 2
        parallel: {tensor: %d, pipeline: %d, context: %d, data: %d, expert: %d, sequence_parallel: %b%s}
        sharding: {zero: %d}
        """
            .formatted(
                oneOf(random, List.of("fp32", "bf16")),
                oneOf(random, MODELS),
                oneOf(random, List.of("none", "full")),
                1 << random.nextInt(3),
                oneOf(random, List.of("adamw", "sgd")),
                sizes.get(0),
                sizes.get(1),
                sizes.get(2),
                data,
                1 << random.nextInt(3),
                sizes.get(0) > 1 && random.nextBoolean(),
                sizes.get(1) > 1 ? ", schedule: " + oneOf(random, SCHEDULES) : "",
                random.nextInt(4));
    return JobConfigParser.parse("plan.yaml", yaml);
  }

  @Sample(4)
  @ParameterizedTest
  @MethodSource("plans")
  void noRehearsalTakesLess(ParsedPlan parsed) throws Exception {
    JobConfig config = parsed.config();
    JobPlan plan = JobPlan.of(parsed, Path.of(""), RANKS);
    LayoutBounds bounds = new LayoutBounds(plan.model(), CLUSTER, RANKS);

    double bytes = bounds.peakBytes(config, plan.pipeline());
    assertThat(bytes).isGreaterThanOrEqualTo(bounds.stateBytes(config));
    assertThat((double) plan.peakBytes()).isGreaterThanOrEqualTo(bytes);
    for (int devicesPerHost : List.of(3, 4)) { // groups that are all on one host, and some that are
      Cluster cluster = cluster(devicesPerHost);
      assertThat(plan.time(config, cluster).seconds())
          .isGreaterThanOrEqualTo(new LayoutBounds(plan.model(), cluster, RANKS).seconds(config));
    }
  }

  /** Where a model is large, layers are nearly all that there is. */
  @Test
  void theyRuleMuchOut() throws Exception {
    ParsedPlan parsed =
        JobConfigParser.parse(
            "plan.yaml",
            """
            precision: bf16
            model: {family: gpt2, layers: 16, hidden: 2048, heads: 16, sequence: 1024, vocab: 32000}
            data: {kind: reference}
            batch: {global: 64, micro: 2}
            optimizer: {kind: adamw, lr: 1.0e-4}
            steps: 2
            parallel: {tensor: 2, pipeline: 4, data: 2, sequence_parallel: true}
            sharding: {zero: 1}
            """);
    JobPlan plan = JobPlan.of(parsed, Path.of(""), RANKS);
    LayoutBounds bounds = new LayoutBounds(plan.model(), CLUSTER, RANKS);
    assertThat(bounds.peakBytes(parsed.config(), plan.pipeline()) / plan.peakBytes())
        .isGreaterThan(0.7);
    assertThat(bounds.seconds(parsed.config()) / plan.time(parsed.config(), CLUSTER).seconds())
        .isGreaterThan(0.7);
  }
}
