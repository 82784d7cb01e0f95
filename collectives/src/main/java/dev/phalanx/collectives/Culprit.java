package dev.phalanx.collectives;

import dev.phalanx.collectives.status.RankStatus;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntPredicate;

/** Finds out who keeps a group waiting, by following who waits for whom. Ranks are the job's. */
final class Culprit {
  private Culprit() {}

  /**
   * @param awaited the rank that the asking one waits for
   * @param asking the rank that asks
   * @param statuses of those that have answered and are in the group
   * @param hasAnswered of each rank of the group, whether it has answered, in the group or not
   * @return a sentence that names the rank at fault; empty where not even the asking one answers
   */
  static Optional<String> find(
      int asking, int awaited, List<RankStatus> statuses, IntPredicate hasAnswered) {
    Map<Integer, RankStatus> byRank = new HashMap<>();
    statuses.forEach(status -> byRank.put(status.rank(), status));
    if (!byRank.containsKey(asking)) {
      return Optional.empty();
    }
    List<Integer> chain = new ArrayList<>(List.of(asking));
    int rank = awaited;
    while (!chain.contains(rank)) {
      RankStatus status = byRank.get(rank);
      if (status == null) {
        return Optional.of("rank " + rank + absence(hasAnswered.test(rank)) + by(chain));
      }
      if (status.current().isEmpty() || status.waitsFor().isEmpty()) {
        return Optional.of(
            "rank " + rank + " keeps the others waiting: " + state(status) + by(chain));
      }
      chain.add(rank);
      rank = status.waitsFor().get();
    }
    List<Integer> circle = chain.subList(chain.indexOf(rank), chain.size());
    StringBuilder text = new StringBuilder("ranks wait for each other in a circle:");
    for (int one : circle) {
      RankStatus status = byRank.get(one);
      if (status != null) {
        text.append(" rank ").append(one).append(" is in ").append(status.current().orElse("?"));
        text.append(" and waits for rank ").append(status.waitsFor().orElse(-1)).append(';');
      }
    }
    return Optional.of(text.deleteCharAt(text.length() - 1).toString());
  }

  private static String absence(boolean hasAnswered) {
    return hasAnswered
        ? " answers but is not in this group: it has not made it yet, has made it of other ranks or"
            + " has left it"
        : " gives no answer: its process is stopped, or its host cannot be reached";
  }

  private static String state(RankStatus status) {
    String time = String.format(Locale.ROOT, "%.1f s", status.millis() / 1e3);
    if (status.current().isPresent()) {
      return "it has been in "
          + status.current().get()
          + " for "
          + time
          + " without waiting for anybody";
    }
    return (status.lastFinished().isEmpty()
            ? "it has called no operation of the group yet"
            : "it has called nothing since it finished "
                + status.lastFinished().get()
                + " "
                + time
                + " ago")
        + "; its code hangs or computes elsewhere";
  }

  private static String by(List<Integer> chain) {
    if (chain.size() < 2) {
      return "";
    }
    StringBuilder text = new StringBuilder(" (rank ");
    for (int i = 0; i < chain.size(); i++) {
      text.append(i == 0 ? "" : " waits for rank ").append(chain.get(i));
    }
    return text.append(", which waits for it)").toString();
  }
}
