package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeout;

import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.trainer.config.ClusterParser;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.ParsedPlan;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
final class PlanSearchTest {
  private static final Cluster.Link SLOW = new Cluster.Link(1e7, 1e-5);

  /** What {@link Cluster#usableMemoryBytes} leaves of it is what tensors may take. */
  private static Cluster cluster(double usableBytes) {
    return new Cluster(8, 1e12, usableBytes / 0.92, 1e11, SLOW, SLOW);
  }

  /** One layer and one head: ranks can but train on other sequences. */
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 64, heads: 1, sequence: 64, vocab: 512}
      data: {kind: reference}
      batch: {global: 16, micro: 1}
      optimizer: {kind: adamw, lr: 1.0e-4}
      steps: 2
      parallel: {data: 2}
      """;

  private static PlanSearch.Result search(String plan, int ranks, Cluster cluster, int most)
      throws Exception {
    return PlanSearch.search(
        JobConfigParser.parse("plan.yaml", plan), Path.of(""), ranks, cluster, most);
  }

  /** Bytes of a rank in the layout that takes least. */
  private static long leastBytes(int micro) throws Exception {
    long least = Long.MAX_VALUE;
    for (int zero = 0; zero <= 3; zero++) {
      for (String recompute : List.of("none", "full")) {
        List<String> layout =
            List.of(
                "batch.micro=" + micro, "sharding.zero=" + zero, "model.recompute=" + recompute);
        ParsedPlan plan = JobConfigParser.parse("plan.yaml", PLAN, layout);
        least = Math.min(least, JobPlan.of(plan, Path.of(""), 2).peakBytes());
      }
    }
    return least;
  }

  /**
   * Over a slow link larger micro-batches, under which more is hidden, come first. That they do not
   * fit says nothing of smaller ones.
   */
  @Test
  void aLayoutIsTriedWithSmallerMicroBatchesWhereLargerOnesDoNotFit() throws Exception {
    long usable = (leastBytes(1) + leastBytes(2)) / 2;
    PlanSearch.Result result = search(PLAN, 2, cluster(usable), 5);
    assertThat(result.best()).isNotEmpty();
    assertThat(result.best())
        .allSatisfy(found -> assertThat(found.overrides()).contains("batch.micro=1"));
  }

  /** Seconds on two cores: layouts are bounded by formulas, and but some are rehearsed. */
  @Test
  void aThousandRanksAreSearchedInSeconds() throws Exception {
    ParsedPlan plan =
        JobConfigParser.read(
            Path.of("../configs/published/megatron-39b.yaml"), List.of("batch.global=1024"));
    Cluster cluster =
        ClusterParser.read(Path.of("../configs/clusters/dgx-a100.yaml"))
            .in(plan.config().precision());
    PlanSearch.Result result =
        assertTimeout(
            Duration.ofSeconds(100), () -> PlanSearch.search(plan, Path.of(""), 1024, cluster, 5));
    assertThat(result.best()).hasSize(5);
    assertThat(result.best())
        .allSatisfy(
            found -> assertThat((double) found.peakBytes()).isLessThan(cluster.usableMemoryBytes()))
        .isSortedAccordingTo(Comparator.comparingDouble(found -> found.time().seconds()));
  }

  /** 21 sequences over 7 micro-batches of 3, which no power of two gives. */
  @Test
  void thePlansOwnMicroBatchIsTried() throws Exception {
    String plan = PLAN.replace("global: 16, micro: 1", "global: 21, micro: 3");
    assertThat(search(plan, 7, cluster(1e9), 20).best())
        .anySatisfy(found -> assertThat(found.overrides()).contains("batch.micro=3"));
  }

  /** Three ranks divide the matrices of sequences whose tokens they do not. */
  @Test
  void ranksDivideMatricesWhereTheyCannotDivideTokens() throws Exception {
    String plan =
        PLAN.replace("hidden: 64, heads: 1", "hidden: 96, heads: 3")
            .replace("data: 2", "tensor: 3");
    assertThat(search(plan, 3, cluster(1e9), 5).best())
        .anySatisfy(
            found ->
                assertThat(found.overrides().get(0))
                    .contains("tensor: 3", "sequence_parallel: false"));
  }
}
