package dev.phalanx.launcher.terminal;

import dev.phalanx.collectives.status.RankStatus;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.SortedMap;

/**
 * Where every rank of a job is when one has waited in vain, for a person who looks for the cause.
 */
public final class StatusTable {
  private static final String NONE = "-";

  private StatusTable() {}

  /**
   * A heading, then a line for each rank and group.
   *
   * @param answers the statuses by rank of the job; a rank that is missing has given no answer
   */
  public static List<String> lines(int worldSize, SortedMap<Integer, List<RankStatus>> answers) {
    List<List<String>> rows = new ArrayList<>();
    rows.add(List.of("rank", "group", "last finished", "current", "waits for", "for"));
    for (int rank = 0; rank < worldSize; rank++) {
      List<RankStatus> statuses = answers.getOrDefault(rank, List.of());
      if (!answers.containsKey(rank)) {
        rows.add(List.of(Integer.toString(rank), NONE, NONE, "gives no answer", NONE, NONE));
      } else if (statuses.isEmpty()) {
        rows.add(List.of(Integer.toString(rank), NONE, NONE, "is in no group", NONE, NONE));
      }
      for (RankStatus status : statuses) {
        rows.add(
            List.of(
                Integer.toString(rank),
                status.group(),
                status.lastFinished().orElse(NONE),
                status.current().orElse("none: its code is elsewhere"),
                status.waitsFor().map(peer -> "rank " + peer).orElse(NONE),
                String.format(Locale.ROOT, "%.1f s", status.millis() / 1e3)));
      }
    }
    return aligned(rows);
  }

  private static List<String> aligned(List<List<String>> rows) {
    int columns = rows.get(0).size();
    int[] widths = new int[columns];
    for (List<String> row : rows) {
      for (int column = 0; column < columns; column++) {
        widths[column] = Math.max(widths[column], row.get(column).length());
      }
    }
    List<String> lines = new ArrayList<>();
    for (List<String> row : rows) {
      StringBuilder line = new StringBuilder();
      for (int column = 0; column < columns; column++) {
        line.append(row.get(column));
        line.append(" ".repeat(widths[column] - row.get(column).length() + 2));
      }
      lines.add(line.toString().stripTrailing());
    }
    return lines;
  }
}
