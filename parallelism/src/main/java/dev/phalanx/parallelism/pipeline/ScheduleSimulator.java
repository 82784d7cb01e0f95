package dev.phalanx.parallelism.pipeline;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * Goes through a table as ranks do: each in its own order, no action before what it needs is there.
 * What is sent waits for its receiver and not the other way round, so ranks can only wait for each
 * other for ever where their orders contradict; then the ranks and actions of the circle are named.
 */
public final class ScheduleSimulator {
  private static final double NOT_YET = -1;

  private final ScheduleTable table;
  private final StageCosts costs;
  private final double[][] forwardEnds; // [stage, micro-batch]
  private final double[][] gradientEnds; // of the stage's input
  private final int[] next; // each rank's place in its actions
  private final List<List<ScheduleTiming.Slot>> slots = new ArrayList<>();

  private ScheduleSimulator(ScheduleTable table, StageCosts costs) {
    this.table = table;
    this.costs = costs;
    this.forwardEnds = new double[table.stages()][table.microBatches()];
    this.gradientEnds = new double[table.stages()][table.microBatches()];
    for (int stage = 0; stage < table.stages(); stage++) {
      Arrays.fill(forwardEnds[stage], NOT_YET);
      Arrays.fill(gradientEnds[stage], NOT_YET);
    }
    this.next = new int[table.ranks().size()];
    table.ranks().forEach(actions -> slots.add(new ArrayList<>(actions.size())));
  }

  /**
   * @throws ScheduleException where the table would never end
   */
  public static ScheduleTiming simulate(ScheduleTable table, StageCosts costs) {
    return new ScheduleSimulator(table, costs).run();
  }

  /**
   * Proves that a table comes to its end.
   *
   * @throws ScheduleException where it would not
   */
  public static void requireNoDeadlock(ScheduleTable table) {
    simulate(table, StageCosts.uniform(1, 1, 1, 0));
  }

  private ScheduleTiming run() {
    Deque<Integer> mayMove = new ArrayDeque<>();
    for (int rank = 0; rank < next.length; rank++) {
      mayMove.add(rank);
    }
    while (!mayMove.isEmpty()) {
      int rank = mayMove.remove();
      while (next[rank] < table.ranks().get(rank).size() && isReady(upNext(rank))) {
        Action action = upNext(rank);
        perform(rank, action);
        next[rank]++;
        int receiver = receiver(action);
        if (receiver >= 0 && receiver < table.stages() && table.rankOf(receiver) != rank) {
          mayMove.add(table.rankOf(receiver));
        }
      }
    }
    for (int rank = 0; rank < next.length; rank++) {
      if (next[rank] < table.ranks().get(rank).size()) {
        throw deadlock(rank);
      }
    }
    return new ScheduleTiming(table, slots);
  }

  /** The stage that an action's result goes to; there may be none of this number. */
  private static int receiver(Action action) {
    return switch (action.kind()) {
      case FORWARD -> action.stage() + 1;
      case BACKWARD, BACKWARD_INPUT -> action.stage() - 1;
      case BACKWARD_WEIGHT -> -1;
    };
  }

  private Action upNext(int rank) {
    return table.ranks().get(rank).get(next[rank]);
  }

  private boolean isReady(Action action) {
    return needs(action).stream().noneMatch(need -> end(need) == NOT_YET);
  }

  /** An activation or a gradient of a stage's input that must be there. */
  private record Result(int stage, boolean isGradient, int microBatch) {}

  private List<Result> needs(Action action) {
    int stage = action.stage();
    int microBatch = action.microBatch();
    List<Result> needs = new ArrayList<>(2);
    switch (action.kind()) {
      case FORWARD -> {
        if (stage > 0) {
          needs.add(new Result(stage - 1, false, microBatch));
        }
      }
      case BACKWARD, BACKWARD_INPUT -> {
        needs.add(new Result(stage, false, microBatch));
        if (stage + 1 < table.stages()) {
          needs.add(new Result(stage + 1, true, microBatch));
        }
      }
      case BACKWARD_WEIGHT -> needs.add(new Result(stage, true, microBatch));
    }
    return needs;
  }

  private double end(Result result) {
    return (result.isGradient() ? gradientEnds : forwardEnds)[result.stage()][result.microBatch()];
  }

  private void perform(int rank, Action action) {
    List<ScheduleTiming.Slot> done = slots.get(rank);
    double start = done.isEmpty() ? 0 : done.get(done.size() - 1).end();
    for (Result need : needs(action)) {
      double hop = table.rankOf(need.stage()) == rank ? 0 : costs.hop();
      start = Math.max(start, end(need) + hop);
    }
    double end = start + costs.of(action);
    done.add(new ScheduleTiming.Slot(action, start, end));
    if (action.kind() == Action.Kind.FORWARD) {
      forwardEnds[action.stage()][action.microBatch()] = end;
    } else if (action.givesInputGradient()) {
      gradientEnds[action.stage()][action.microBatch()] = end;
    }
  }

  /**
   * Follows who waits for whom from a rank that waits; every such rank waits for one that does too.
   */
  private ScheduleException deadlock(int first) {
    Map<Integer, String> waits = new LinkedHashMap<>();
    int rank = first;
    while (!waits.containsKey(rank)) {
      Action action = upNext(rank);
      Result missing =
          needs(action).stream().filter(need -> end(need) == NOT_YET).findFirst().orElseThrow();
      Action awaited = giving(missing);
      int holder = table.rankOf(missing.stage());
      waits.put(
          rank,
          "rank "
              + rank
              + " waits before "
              + action
              + " for "
              + awaited
              + " of "
              + (holder == rank ? "its own" : "rank " + holder));
      rank = holder;
    }
    int start = rank;
    String circle =
        waits.entrySet().stream()
            .dropWhile(wait -> wait.getKey() != start)
            .map(Map.Entry::getValue)
            .collect(Collectors.joining(", "));
    return new ScheduleException("the schedule never ends: " + circle);
  }

  private Action giving(Result result) {
    Optional<Action> found =
        table.ranks().get(table.rankOf(result.stage())).stream()
            .filter(
                action ->
                    action.stage() == result.stage() && action.microBatch() == result.microBatch())
            .filter(
                action ->
                    result.isGradient()
                        ? action.givesInputGradient()
                        : action.kind() == Action.Kind.FORWARD)
            .findFirst();
    return found.orElseThrow(() -> new IllegalStateException("Tables are complete"));
  }
}
