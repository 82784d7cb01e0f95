package dev.phalanx.parallelism.expert;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Rows find their expert, and the way back. */
final class DispatchTest {
  /** Some experts get nothing; with one token most do. */
  @ParameterizedTest
  @CsvSource({"1, 1, 4, 1", "1, 2, 4, 2", "7, 2, 6, 3", "64, 3, 6, 2", "5, 1, 1, 1", "0, 2, 4, 2"})
  void everyChoiceGoesToItsExpertAndComesBack(int tokens, int perToken, int experts, int ranks) {
    Random random = new Random(tokens * 31L + experts);
    int own = experts / ranks;
    List<int[]> chosen = new ArrayList<>();
    List<Dispatch> sent = new ArrayList<>();
    for (int source = 0; source < ranks; source++) {
      int[] choices = random.ints((long) tokens * perToken, 0, experts).toArray();
      chosen.add(choices);
      sent.add(Dispatch.of(choices, experts));
    }
    for (int rank = 0; rank < ranks; rank++) {
      List<String> arrivedRows = new ArrayList<>(); // as an all-to-all brings them
      long[] counts = new long[ranks * own];
      for (int source = 0; source < ranks; source++) {
        Dispatch dispatch = sent.get(source);
        int row = 0;
        for (int expert = 0; expert < experts; expert++) {
          for (int i = 0; i < dispatch.counts()[expert]; i++) {
            if (expert / own == rank) {
              counts[source * own + expert % own]++;
              arrivedRows.add(source + "." + dispatch.choices()[row] + " for " + expert);
            }
            row++;
          }
        }
      }
      Dispatch.Arrived arrived = Dispatch.Arrived.of(counts, ranks);
      int row = 0;
      for (int expert = 0; expert < own; expert++) {
        for (int i = 0; i < arrived.counts()[expert]; i++) {
          String name = arrivedRows.get((int) arrived.sorted()[row]);
          assertThat(name).endsWith(" for " + (rank * own + expert));
          assertThat(arrived.back()[(int) arrived.sorted()[row]]).isEqualTo(row);
          row++;
        }
      }
      assertThat(row).isEqualTo(arrivedRows.size());
      for (int source = 0; source < ranks; source++) {
        assertThat(arrived.ofRanks()[source])
            .isEqualTo(sent.get(source).countsOfRanks(ranks)[rank]);
      }
    }
    for (int source = 0; source < ranks; source++) {
      Dispatch dispatch = sent.get(source);
      for (int choice = 0; choice < tokens * perToken; choice++) {
        int row = (int) dispatch.rows()[choice];
        assertThat(dispatch.choices()[row]).isEqualTo(choice);
        assertThat(dispatch.tokens(perToken)[row]).isEqualTo(choice / perToken);
        assertThat(expertOf(dispatch, row)).isEqualTo(chosen.get(source)[choice]);
      }
    }
  }

  private static int expertOf(Dispatch dispatch, int row) {
    int expert = 0;
    long end = dispatch.counts()[0];
    while (row >= end) {
      expert++;
      end += dispatch.counts()[expert];
    }
    return expert;
  }
}
