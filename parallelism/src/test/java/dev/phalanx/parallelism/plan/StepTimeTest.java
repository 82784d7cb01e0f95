package dev.phalanx.parallelism.plan;

import static dev.phalanx.parallelism.plan.StepTime.Sent.NOTHING;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.parallelism.pipeline.OneForwardOneBackward;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

final class StepTimeTest {
  private static final double EXACT = 1e-9;
  private static final Cluster.Link LINK = new Cluster.Link(1e9, 1e-5);
  private static final Cluster CLUSTER = new Cluster(2, 1e12, 16e9, 1e11, LINK, LINK);
  private static final StepTime.Links LINKS = new StepTime.Links(LINK, LINK, LINK, LINK, LINK);

  private static StepTime.Sent sent(double bytes) {
    return new StepTime.Sent(bytes, 0);
  }

  private static StepTime.Work work(double operations, double tensorBytes, double dataSeconds) {
    return new StepTime.Work(
        operations,
        0,
        false,
        sent(tensorBytes),
        NOTHING,
        NOTHING,
        NOTHING,
        NOTHING,
        1e6,
        0,
        dataSeconds,
        false,
        1e9);
  }

  private static StepTime time(int ranks, int microBatches, StepTime.Work work) {
    return StepTime.of(
        new OneForwardOneBackward().table(ranks, microBatches),
        Collections.nCopies(ranks, work),
        CLUSTER,
        LINKS);
  }

  @Test
  void oneRankComputesAndUpdates() {
    StepTime time = time(1, 4, work(12e12, 0, 0));
    assertThat(time.passesSeconds()).isCloseTo(12, within(EXACT));
    assertThat(time.exposedDataSeconds()).isZero();
    assertThat(time.updateSeconds()).isCloseTo(0.01, within(EXACT)); // 1 GB at 100 GB/s
    assertThat(time.seconds()).isCloseTo(12.01, within(EXACT));
  }

  /** Narayanan et al., 2021: a part of (p - 1) / m of the work is idle; and hops come on top. */
  @Test
  void aPipelineIsIdleAtBothEnds() {
    double hop = 1e6 / 1e9 + 1e-5;
    StepTime time = time(4, 8, work(24e12, 0, 0));
    assertThat(time.passesSeconds()).isBetween(24 * (1 + 3 / 8.0), 24 * (1 + 3 / 8.0) + 30 * hop);
  }

  @Test
  void whatDividedMatricesSendIsHiddenBackwardBehindTheWeightsProducts() {
    // A micro-batch: 1 s forward, 1 s for each half backward; 0.5 s of sums each way.
    StepTime some = time(1, 4, work(12e12, 4e9, 0));
    assertThat(some.passesSeconds()).isCloseTo(12 + 4 * 0.5, within(EXACT));
    // 1.5 s each way, of which 1 s is hidden backward
    StepTime much = time(1, 4, work(12e12, 12e9, 0));
    assertThat(much.passesSeconds()).isCloseTo(12 + 4 * (1.5 + 0.5), within(EXACT));
  }

  /** Forward, forward again, and two parts backward, of which the weights' hides a sum. */
  @Test
  void whatIsComputedAgainIsSentAgain() {
    StepTime.Work work =
        new StepTime.Work(
            16e12, 0, true, sent(6e9), NOTHING, NOTHING, NOTHING, NOTHING, 0, 0, 0, false,
            0); // 0.5 s of sums each time
    assertThat(time(1, 4, work).passesSeconds()).isCloseTo(16 + 4 * 2 * 0.5, within(EXACT));
  }

  /** Of 8e12 operations of attention half are computed: 1 s in each of 4 micro-batches. */
  @Test
  void theKeysWayRoundTheRingIsHiddenBehindAttention() {
    StepTime.Work hidden =
        new StepTime.Work(
            12e12, 8e12, false, NOTHING, sent(4e9), NOTHING, NOTHING, NOTHING, 0, 0, 0, false, 0);
    assertThat(time(1, 4, hidden).passesSeconds()).isCloseTo(12, within(EXACT));
    StepTime.Work longer =
        new StepTime.Work(
            12e12, 8e12, false, NOTHING, sent(7e9), NOTHING, NOTHING, NOTHING, 0, 0, 0, false, 0);
    assertThat(time(1, 4, longer).passesSeconds()).isCloseTo(12 + 7 - 4, within(EXACT));
  }

  /** 4 micro-batches of one second, forward and back. */
  @Test
  void tokensOnTheirWayToExpertsAreNotHidden() {
    StepTime.Work work = withCopies(sent(4e9), NOTHING, NOTHING);
    assertThat(time(1, 4, work).passesSeconds()).isCloseTo(12 + 4, within(EXACT));
    assertThat(time(1, 4, work).exposedDataSeconds()).isZero();
  }

  /** Behind the passes of one micro-batch, 3 s, where they can begin early. */
  @Test
  void copiesAreSummedUnderTheLastPasses() {
    StepTime.Work some = withCopies(NOTHING, sent(2e9), NOTHING);
    assertThat(time(1, 4, some).exposedDataSeconds()).isZero();
    StepTime.Work much = withCopies(NOTHING, sent(5e9), NOTHING);
    assertThat(time(1, 4, much).exposedDataSeconds()).isCloseTo(2, within(EXACT));
    StepTime.Work late = withCopies(NOTHING, NOTHING, sent(2e9));
    assertThat(time(1, 4, late).exposedDataSeconds()).isCloseTo(2, within(EXACT));
  }

  private static StepTime.Work withCopies(
      StepTime.Sent exchanged, StepTime.Sent copies, StepTime.Sent afterPasses) {
    return new StepTime.Work(
        12e12, 0, false, NOTHING, NOTHING, exchanged, copies, afterPasses, 0, 0, 0, false, 0);
  }

  @Test
  void aTableThatTwoStagesHaveIsAddedUpAtTheEnd() {
    StepTime.Work work =
        new StepTime.Work(
            24e12, 0, false, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, 0, 3e9, 0, false, 0);
    assertThat(time(2, 4, work).exposedDataSeconds()).isCloseTo(3.00002, within(EXACT));
  }

  @Test
  void whatDataParallelRanksSendIsHiddenBehindOneMicroBatchOrAll() {
    assertThat(time(1, 4, work(12e12, 0, 2)).exposedDataSeconds()).isZero();
    assertThat(time(1, 4, work(12e12, 0, 5)).exposedDataSeconds()).isCloseTo(2, within(EXACT));
    StepTime.Work eachTime =
        new StepTime.Work(
            12e12, 0, false, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, 0, 0, 20, true, 0);
    assertThat(time(1, 4, eachTime).exposedDataSeconds()).isCloseTo(8, within(EXACT));
  }

  @Test
  void neighboursOfOneHostTalkWithinIt() {
    Cluster.Link fast = new Cluster.Link(1e11, 1e-6);
    Cluster cluster = new Cluster(4, 1, 1, 1, fast, LINK);
    List<Integer> onOneHost = List.of(4, 5, 7);
    List<Integer> onTwo = List.of(3, 4);
    assertThat(cluster.between(List.of(onOneHost))).isEqualTo(fast);
    assertThat(cluster.between(List.of(onOneHost, onTwo))).isEqualTo(LINK);
    assertThat(LINK.seconds(2e9, 100)).isCloseTo(2.001, within(EXACT));
  }
}
