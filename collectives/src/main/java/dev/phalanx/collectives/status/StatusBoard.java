package dev.phalanx.collectives.status;

import java.util.List;
import java.util.Optional;
import java.util.function.IntPredicate;

/**
 * Tells where the ranks of the job are, when one of them has waited in vain: whoever waits for
 * another that waits itself must not blame it.
 */
public interface StatusBoard {
  /** One rank of one group. Any thread asks, and is answered at once. */
  interface Member {
    RankStatus status();

    /** Somebody has waited in vain: the last operations go to the log. */
    void writeRecords();
  }

  /** A rank of a group that answers from now on. */
  void join(Member member);

  /** A rank that has left answers no more. */
  void leave(Member member);

  /**
   * What a question comes to.
   *
   * @param statuses where the ranks of the job are that have answered, in each of their groups
   * @param hasAnswered of each rank of the job, by its number there, whether it has answered, in
   *     some group or in none
   */
  record Answers(List<RankStatus> statuses, IntPredicate hasAnswered) {
    static final Answers NONE = new Answers(List.of(), rank -> false);
  }

  /** Asks all ranks. Those that give no answer within some seconds are missing from the result. */
  Answers ask() throws InterruptedException;

  /**
   * Which rank of the job was lost first, in any group or in none, as a clause that goes on after
   * "the first to be lost was"; empty: none is known to be.
   */
  Optional<String> firstLost();

  /** Nobody answers. */
  static StatusBoard none() {
    return new StatusBoard() {
      @Override
      public void join(Member member) {}

      @Override
      public void leave(Member member) {}

      @Override
      public Answers ask() {
        return Answers.NONE;
      }

      @Override
      public Optional<String> firstLost() {
        return Optional.empty();
      }
    };
  }
}
