package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.parallelism.plan.StepTime;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.rehearsal.SentOperations;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Over which links a job's ranks are taken to talk, and how often. */
@Timeout(120)
final class PredictedTimeTest {
  private static final int DEVICES_PER_HOST = 8;
  private static final Cluster.Link WITHIN = new Cluster.Link(1e9, 0);
  private static final Cluster.Link BETWEEN = new Cluster.Link(1e7, 0);

  private static Cluster cluster(Cluster.Link within, Cluster.Link between) {
    return new Cluster(DEVICES_PER_HOST, 1e12, 1e9, 1e11, within, between);
  }

  private static ParsedPlan parse(String more) {
    String yaml =
        """
        model: {family: gpt2, layers: 4, hidden: 48, heads: 12, sequence: 24, vocab: 250}
        data: {kind: reference}
        optimizer: {kind: adamw, lr: 1.0e-4}
        steps: 2
        """
            + more;
    return JobConfigParser.parse("plan.yaml", yaml);
  }

  private static StepTime time(String more, int ranks, Cluster cluster) throws Exception {
    ParsedPlan plan = parse(more);
    return JobPlan.of(plan, Path.of(""), ranks).time(plan.config(), cluster);
  }

  /** Of 24 ranks in groups of three, ranks 6 to 8 are on two hosts, and the first three on one. */
  @Test
  void anAxisIsAsSlowAsItsSlowestGroup() throws Exception {
    String plan = "parallel: {tensor: 3, data: 8}\nbatch: {global: 48, micro: 1}";
    double seconds = time(plan, 24, cluster(WITHIN, BETWEEN)).passesSeconds();
    assertThat(seconds).isEqualTo(time(plan, 24, cluster(BETWEEN, BETWEEN)).passesSeconds());
    assertThat(seconds).isGreaterThan(time(plan, 24, cluster(WITHIN, WITHIN)).passesSeconds());
  }

  /**
   * Four copies, each on a host of eight: of its eighth of n fp32 parameters a rank sends 2 (4 - 1)
   * / 4 to hosts of other copies. The rest stays within hosts.
   */
  @Test
  void copiesThatAreSharedWithinHostsSendLittleBetweenThem() throws Exception {
    String plan =
        """
        parallel: {data: 32}
        batch: {global: 32, micro: 1}
        sharding: {zero: 1, shard_size: 8}
        """;
    double slow = time(plan, 32, cluster(WITHIN, BETWEEN)).exposedDataSeconds();
    double fast =
        time(plan, 32, cluster(WITHIN, new Cluster.Link(2 * BETWEEN.bytesPerSecond(), 0)))
            .exposedDataSeconds();
    double bytesBetween = (slow - fast) * 2 * BETWEEN.bytesPerSecond();
    double parameters = 250 * 48 + 24 * 48 + 4 * (12 * 48 * 48 + 13 * 48) + 2 * 48;
    assertThat(bytesBetween)
        .isCloseTo(4 * parameters / 8 * 2 * 3 / 4, Percentage.withPercentage(1));
  }

  /**
   * Where messages cost their latency alone: an all-reduce is as many of them as the reduce-scatter
   * and the all-gather that sequence parallelism has in its place.
   */
  @Test
  void anAllReduceGoesRoundTheRingTwiceAndOthersOnce() throws Exception {
    Cluster.Link latency = new Cluster.Link(1e18, 1e-3);
    Cluster cluster = new Cluster(DEVICES_PER_HOST, 1e18, 1e9, 1e18, latency, latency);
    for (boolean isSequenceParallel : List.of(false, true)) {
      ParsedPlan parsed =
          parse(
              "batch: {global: 4, micro: 1}\nparallel: {tensor: 4, data: 1, sequence_parallel: "
                  + isSequenceParallel
                  + "}");
      JobPlan plan = JobPlan.of(parsed, Path.of(""), 4);
      SentOperations sent = plan.ranks().get(0).rehearsal().sentInPasses(Axis.TENSOR);
      long rounds = 0;
      for (Map.Entry<String, SentOperations.Sent> each : sent.byName().entrySet()) {
        rounds += each.getValue().count() * (each.getKey().equals("all_reduce") ? 6 : 3);
      }
      assertThat(sent.byName().containsKey("reduce_scatter")).isEqualTo(isSequenceParallel);
      assertThat(plan.time(parsed.config(), cluster).passesSeconds())
          .isCloseTo(rounds * 1e-3, Percentage.withPercentage(1e-3));
    }
  }
}
