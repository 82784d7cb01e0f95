package dev.phalanx.parallelism.pipeline;

import java.util.List;

/**
 * When ranks do what, in the unit of the costs.
 *
 * @param table what is timed
 * @param ranks each rank's actions with their times, in order
 */
public record ScheduleTiming(ScheduleTable table, List<List<Slot>> ranks) {
  /** An action from its start to its end. */
  public record Slot(Action action, double start, double end) {}

  public ScheduleTiming {
    ranks = ranks.stream().map(List::copyOf).toList();
  }

  /**
   * From a rank's first action to its last one, of the rank that takes longest. Ranks that begin
   * later may end later: the next step's first actions take the place of what they would wait for.
   */
  public double cost() {
    return ranks.stream().mapToDouble(ScheduleTiming::span).max().orElse(0);
  }

  private static double span(List<Slot> slots) {
    return slots.get(slots.size() - 1).end() - slots.get(0).start();
  }

  /** From the first action of all to the last one. */
  public double makespan() {
    return ranks.stream().mapToDouble(slots -> slots.get(slots.size() - 1).end()).max().orElse(0);
  }

  /** How long a rank computes. */
  public double busy(int rank) {
    return ranks.get(rank).stream().mapToDouble(slot -> slot.end() - slot.start()).sum();
  }

  /** The part of {@link #cost} in which the rank with the most work does none. */
  public double bubbleRate() {
    double work = 0;
    for (int rank = 0; rank < ranks.size(); rank++) {
      work = Math.max(work, busy(rank));
    }
    return idle(work);
  }

  /**
   * The part of {@link #cost} in which ranks do no work, of all of them together: where some have
   * less than others it is more than {@link #bubbleRate}.
   */
  public double idleRate() {
    double work = 0;
    for (int rank = 0; rank < ranks.size(); rank++) {
      work += busy(rank);
    }
    return idle(work / ranks.size());
  }

  private double idle(double work) {
    return cost() == 0 ? 0 : (cost() - work) / cost();
  }
}
