package dev.phalanx.launcher.terminal;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.status.RankStatus;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

final class StatusTableTest {
  @Test
  void everyRankHasALineAlsoTheOneThatGivesNoAnswer() {
    SortedMap<Integer, List<RankStatus>> answers = new TreeMap<>();
    answers.put(
        0,
        List.of(
            new RankStatus(
                "world",
                0,
                Optional.of("all_reduce #6 (SUM of 3 FLOAT32)"),
                Optional.of("all_reduce #7 (SUM of 3 FLOAT32)"),
                Optional.of(2),
                60_000)));
    answers.put(
        2,
        List.of(
            new RankStatus("world", 2, Optional.empty(), Optional.empty(), Optional.empty(), 900)));
    assertThat(StatusTable.lines(3, answers))
        .containsExactly(
            "rank  group  last finished                     current                           waits"
                + " for  for",
            "0     world  all_reduce #6 (SUM of 3 FLOAT32)  all_reduce #7 (SUM of 3 FLOAT32)  rank"
                + " 2     60.0 s",
            "1     -      -                                 gives no answer                   -    "
                + "      -",
            "2     world  -                                 none: its code is elsewhere       -    "
                + "      0.9 s");
  }
}
