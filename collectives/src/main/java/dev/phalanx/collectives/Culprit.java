package dev.phalanx.collectives;

import dev.phalanx.collectives.status.RankStatus;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.IntPredicate;

/**
 * Finds out who keeps a group waiting, by following who waits for whom, into other groups too: a
 * rank that has not come to this one's operation may be held up in another. Ranks are the job's.
 */
final class Culprit {
  private Culprit() {}

  /**
   * @param group of the rank that asks, as statuses name it
   * @param asking the rank that asks
   * @param awaited the rank that the asking one waits for
   * @param statuses of those that have answered, in all of their groups
   * @param hasAnswered of each rank of the job, whether it has answered, in some group or in none
   * @return a sentence that names the rank at fault; empty where not even the asking one answers
   */
  static Optional<String> find(
      String group, int asking, int awaited, List<RankStatus> statuses, IntPredicate hasAnswered) {
    Optional<RankStatus> own = status(statuses, asking, group);
    if (own.isEmpty()) {
      return Optional.empty();
    }
    List<RankStatus> chain = new ArrayList<>(List.of(own.get()));
    String awaitedIn = group;
    int rank = awaited;
    while (placeOf(rank, chain) < 0) {
      Optional<RankStatus> here = status(statuses, rank, awaitedIn);
      Optional<RankStatus> waiting = here.filter(status -> status.waitsFor().isPresent());
      if (here.flatMap(RankStatus::current).isEmpty()) {
        int heldUp = rank;
        waiting =
            statuses.stream()
                .filter(status -> status.rank() == heldUp && status.waitsFor().isPresent())
                .findFirst();
      }
      if (waiting.isEmpty()) {
        String blame =
            here.isPresent()
                ? " keeps the others waiting: " + state(here.get())
                : absence(
                    hasAnswered.test(rank), awaitedIn.equals(group) ? "this group" : awaitedIn);
        return Optional.of("rank " + rank + blame + by(chain));
      }
      chain.add(waiting.get());
      awaitedIn = waiting.get().group();
      rank = waiting.get().waitsFor().orElseThrow();
    }
    List<String> circle = new ArrayList<>();
    for (RankStatus one : chain.subList(placeOf(rank, chain), chain.size())) {
      circle.add(
          " rank "
              + one.rank()
              + " is in "
              + one.current().orElse("?")
              + (one.group().equals(group) ? "" : " of " + one.group())
              + " and waits for rank "
              + one.waitsFor().map(String::valueOf).orElse("?"));
    }
    return Optional.of("ranks wait for each other in a circle:" + String.join(";", circle));
  }

  private static int placeOf(int rank, List<RankStatus> chain) {
    return chain.stream().map(RankStatus::rank).toList().indexOf(rank);
  }

  private static Optional<RankStatus> status(List<RankStatus> all, int rank, String group) {
    return all.stream()
        .filter(status -> status.rank() == rank && status.group().equals(group))
        .findFirst();
  }

  private static String absence(boolean hasAnswered, String group) {
    return hasAnswered
        ? " answers but is not in "
            + group
            + ": it has not made it yet, has made it of other ranks or"
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

  private static String by(List<RankStatus> chain) {
    if (chain.size() < 2) {
      return "";
    }
    StringBuilder text = new StringBuilder(" (rank ").append(chain.get(0).rank());
    for (int i = 1; i < chain.size(); i++) {
      RankStatus one = chain.get(i);
      text.append(" waits for rank ").append(one.rank());
      if (!one.group().equals(chain.get(i - 1).group())) {
        text.append(", in group ").append(one.group());
      }
    }
    return text.append(", which waits for it)").toString();
  }
}
