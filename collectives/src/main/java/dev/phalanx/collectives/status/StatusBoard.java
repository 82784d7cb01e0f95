package dev.phalanx.collectives.status;

import java.util.List;
import java.util.function.IntPredicate;

/**
 * Tells where the ranks of a group are, when one of them has waited in vain: whoever waits for
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
   * @param ofGroup where the ranks of the group are that have answered and are in it
   * @param hasAnswered of each rank of the job, by its number there, whether it has answered, in
   *     the group or not
   */
  record Answers(List<RankStatus> ofGroup, IntPredicate hasAnswered) {
    static final Answers NONE = new Answers(List.of(), rank -> false);
  }

  /** Asks all ranks. Those that give no answer within some seconds are missing from the result. */
  Answers ask(String group) throws InterruptedException;

  /** Nobody answers. */
  static StatusBoard none() {
    return new StatusBoard() {
      @Override
      public void join(Member member) {}

      @Override
      public void leave(Member member) {}

      @Override
      public Answers ask(String group) {
        return Answers.NONE;
      }
    };
  }
}
