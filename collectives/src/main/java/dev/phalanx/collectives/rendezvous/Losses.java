package dev.phalanx.collectives.rendezvous;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Which of the job's ranks are lost, as one rank hears it, for whoever listens now or later.
 *
 * <p>The first rank that is lost ends the others as a rule: whoever looks only when several are
 * gone must hear which one was the cause.
 *
 * <p>Thread: any.
 */
final class Losses {
  private final List<Members.LostRank> known = new ArrayList<>(); // guarded by this, as all below
  private Members.@Nullable LostRank first; // of which the server has told
  private @Nullable Consumer<Members.LostRank> listener;

  /** The server has told it, in the order in which it found out. */
  void told(int rank, String reason) {
    found(rank, reason);
    synchronized (this) { // listeners are called without the lock
      if (first == null) {
        first = new Members.LostRank(rank, reason);
      }
    }
  }

  /** This rank has found it out itself. */
  void found(int rank, String reason) {
    Members.LostRank lost;
    Consumer<Members.LostRank> hearing;
    synchronized (this) { // see told
      lost = new Members.LostRank(rank, afterTheFirst(rank, reason));
      known.add(lost);
      hearing = listener;
    }
    if (hearing != null) {
      hearing.accept(lost);
    }
  }

  private String afterTheFirst(int rank, String reason) {
    Members.LostRank cause = first;
    return cause == null || cause.rank() == rank
        ? reason
        : reason + ". The first to be lost was " + clause(cause);
  }

  private static String clause(Members.LostRank lost) {
    return "rank " + lost.rank() + " of the job, which " + lost.reason();
  }

  /** The first one that the server has told of; empty: none. */
  synchronized Optional<String> first() {
    return Optional.ofNullable(first).map(Losses::clause);
  }

  /** Hears of all losses, also of those before. */
  void listen(Consumer<Members.LostRank> hearing) {
    List<Members.LostRank> before;
    synchronized (this) { // see told
      listener = hearing;
      before = List.copyOf(known);
    }
    before.forEach(hearing);
  }
}
