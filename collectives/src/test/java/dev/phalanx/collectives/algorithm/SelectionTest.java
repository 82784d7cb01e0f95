package dev.phalanx.collectives.algorithm;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.collectives.transport.Topology;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What {@code auto} takes, by sizes and where ranks are. */
final class SelectionTest {
  private static final LinkCost NEAR = new LinkCost(400, 0.15);
  private static final LinkCost FAR = new LinkCost(20_000, 0.4);
  private static final long SMALL = 4 << 10;
  private static final long LARGE = 8 << 20;

  private static Selection auto(Integer... hosts) {
    return new Selection(
        Algorithm.AUTO, new Topology("some", List.of(hosts), NEAR, FAR, 256 << 10));
  }

  /** Around a ring nobody hears from several hosts at once. */
  @Test
  void betweenManyHostsLargeTensorsGoRoundTheRing() {
    Selection fourHosts = auto(0, 1, 2, 3);
    assertThat(fourHosts.allGather(LARGE)).isEqualTo(Algorithm.RING);
    assertThat(fourHosts.reduceScatter(LARGE)).isEqualTo(Algorithm.RING);
    assertThat(fourHosts.allReduce(LARGE)).isEqualTo(Algorithm.RING);
    assertThat(fourHosts.allGather(SMALL)).isEqualTo(Algorithm.DIRECT);
    assertThat(fourHosts.reduceScatter(SMALL)).isEqualTo(Algorithm.DIRECT);
  }

  @Test
  void withinAHostNobodyIsCrowded() {
    Selection oneHost = auto(0, 0, 0, 0);
    assertThat(oneHost.allGather(LARGE)).isEqualTo(Algorithm.DIRECT);
    assertThat(oneHost.reduceScatter(LARGE)).isEqualTo(Algorithm.DIRECT);
    assertThat(oneHost.allReduce(LARGE)).isEqualTo(Algorithm.DIRECT);
    assertThat(oneHost.allReduce(1 << 20)).as("a piece for each rank").isEqualTo(Algorithm.RING);
    Topology sockets = new Topology("tcp", List.of(0, 0, 0, 0), FAR, FAR, 256 << 10);
    assertThat(new Selection(Algorithm.AUTO, sockets).allReduce(1 << 20))
        .as("messages are dear")
        .isEqualTo(Algorithm.DIRECT);
    assertThat(oneHost.isInTwoSteps(LARGE)).isTrue();
    assertThat(oneHost.isInTwoSteps(SMALL / 4)).isFalse();
    assertThat(auto(0, 0).isInTwoSteps(LARGE)).as("which sends no less").isFalse();
  }

  @Test
  void hostsOfSeveralRanksTakeTheHierarchy() {
    assertThat(auto(0, 0, 1, 1).allReduce(LARGE)).isEqualTo(Algorithm.HIERARCHICAL);
  }

  @Test
  void whatIsWantedIsTakenWhereItIs() {
    Topology topology = new Topology("some", List.of(0, 1, 2), NEAR, FAR, 256 << 10);
    Selection tree = new Selection(Algorithm.TREE, topology);
    assertThat(tree.allReduce(LARGE)).isEqualTo(Algorithm.TREE);
    assertThat(tree.allGather(SMALL)).as("which has none").isEqualTo(Algorithm.DIRECT);
    Selection hierarchy = new Selection(Algorithm.HIERARCHICAL, topology);
    assertThat(hierarchy.allReduce(SMALL)).isEqualTo(Algorithm.RING);
  }
}
