package dev.phalanx.trainer;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.parallelism.plan.StepTime;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.ParsedPlan;
import java.nio.file.Path;
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

  private static StepTime time(String more, int ranks, Cluster cluster) throws Exception {
    String yaml =
        """
        model: {family: gpt2, layers: 4, hidden: 48, heads: 12, sequence: 24, vocab: 250}
        data: {kind: reference}
        batch: {global: 48, micro: 1}
        optimizer: {kind: adamw, lr: 1.0e-4}
        steps: 2
        """
            + more;
    ParsedPlan plan = JobConfigParser.parse("plan.yaml", yaml);
    return JobPlan.of(plan, Path.of(""), ranks).time(plan.config(), cluster);
  }

  /** Of 24 ranks in groups of three, ranks 6 to 8 are on two hosts, and the first three on one. */
  @Test
  void anAxisIsAsSlowAsItsSlowestGroup() throws Exception {
    String plan = "parallel: {tensor: 3, data: 8}";
    double seconds = time(plan, 24, cluster(WITHIN, BETWEEN)).passesSeconds();
    assertThat(seconds).isEqualTo(time(plan, 24, cluster(BETWEEN, BETWEEN)).passesSeconds());
    assertThat(seconds).isGreaterThan(time(plan, 24, cluster(WITHIN, WITHIN)).passesSeconds());
  }
}
