package dev.phalanx.collectives;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.status.RankStatus;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

final class CulpritTest {
  private static final String CALL = "all_reduce #4 (SUM of 8 FLOAT32)";

  private static RankStatus waiting(int rank, int waitsFor) {
    return new RankStatus(
        "g", rank, Optional.of("barrier #3"), Optional.of(CALL), Optional.of(waitsFor), 900);
  }

  private static RankStatus elsewhere(int rank) {
    return new RankStatus(
        "g", rank, Optional.of("barrier #3"), Optional.empty(), Optional.empty(), 2500);
  }

  private static Optional<String> find(int asking, int awaited, List<RankStatus> statuses) {
    return Culprit.find("g", asking, awaited, statuses, rank -> false);
  }

  @Test
  void aRankThatAnswersAndHasNotMadeTheGroupIsNotSaidToBeStopped() {
    assertThat(Culprit.find("g", 0, 1, List.of(waiting(0, 1)), rank -> rank == 1))
        .hasValue(
            "rank 1 answers but is not in this group: it has not made it yet, has made it of other"
                + " ranks or has left it");
  }

  @Test
  void aRankThatGivesNoAnswerIsNamed() {
    assertThat(find(0, 1, List.of(waiting(0, 1))))
        .hasValue("rank 1 gives no answer: its process is stopped, or its host cannot be reached");
  }

  @Test
  void theOneAtTheEndOfTheChainIsNamedAndNotWhoWaitsItself() {
    assertThat(find(0, 3, List.of(waiting(0, 3), waiting(3, 1), waiting(1, 2), elsewhere(2))))
        .hasValueSatisfying(
            text ->
                assertThat(text)
                    .startsWith("rank 2 keeps the others waiting: it has called nothing since it")
                    .contains("finished barrier #3 2.5 s ago")
                    .endsWith("(rank 0 waits for rank 3 waits for rank 1, which waits for it)"));
  }

  @Test
  void aRankThatHasCalledNothingYetIsSaidToHaveNot() {
    RankStatus fresh =
        new RankStatus("g", 1, Optional.empty(), Optional.empty(), Optional.empty(), 10);
    assertThat(find(0, 1, List.of(waiting(0, 1), fresh)).orElseThrow())
        .contains("it has called no operation of the group yet");
  }

  @Test
  void aRankThatComputesWithinAnOperationIsNamed() {
    RankStatus busy =
        new RankStatus("g", 1, Optional.empty(), Optional.of(CALL), Optional.empty(), 7000);
    assertThat(find(0, 1, List.of(waiting(0, 1), busy)).orElseThrow())
        .contains("it has been in " + CALL + " for 7.0 s without waiting for anybody");
  }

  @Test
  void aCircleIsTold() {
    assertThat(find(0, 1, List.of(waiting(0, 1), waiting(1, 2), waiting(2, 1))).orElseThrow())
        .startsWith("ranks wait for each other in a circle: rank 1 is in " + CALL)
        .contains("rank 2 is in " + CALL + " and waits for rank 1")
        .doesNotContain("rank 0");
  }

  /** As where one rank of a mesh of tensor and data groups hangs. */
  @Test
  void aRankThatIsHeldUpInAnotherGroupIsNotBlamed() {
    RankStatus inOther =
        new RankStatus("h", 1, Optional.empty(), Optional.of(CALL), Optional.of(2), 900);
    RankStatus hanging =
        new RankStatus("h", 2, Optional.of(CALL), Optional.empty(), Optional.empty(), 2500);
    assertThat(find(0, 1, List.of(waiting(0, 1), elsewhere(1), inOther, hanging)))
        .hasValue(
            "rank 2 keeps the others waiting: it has called nothing since it finished "
                + CALL
                + " 2.5 s ago; its code hangs or computes elsewhere (rank 0 waits for rank 1, in"
                + " group h, which waits for it)");
    assertThat(find(0, 1, List.of(waiting(0, 1), inOther)).orElseThrow())
        .startsWith("rank 2 gives no answer");
  }

  @Test
  void aCircleThroughTwoGroupsIsTold() {
    RankStatus inOther =
        new RankStatus("h", 1, Optional.empty(), Optional.of(CALL), Optional.of(0), 900);
    assertThat(find(0, 1, List.of(waiting(0, 1), inOther)).orElseThrow())
        .endsWith("rank 1 is in " + CALL + " of h and waits for rank 0");
  }

  @Test
  void nobodyIsBlamedWhereNotEvenTheAskingRankIsHeard() {
    assertThat(find(0, 1, List.of())).isEmpty();
    assertThat(find(0, 1, List.of(elsewhere(1)))).isEmpty();
  }
}
