package dev.phalanx.parallelism.pipeline;

import java.util.ArrayList;
import java.util.List;

/**
 * All forward passes, then all backward passes (Huang et al., 2019, "GPipe"). Of p ranks and m
 * micro-batches a part of (p - 1) / (m + p - 1) of the time is idle, and every rank holds the
 * activations of all m.
 */
public record GPipe() implements PipelineSchedule {
  @Override
  public ScheduleTable table(int ranks, int microBatches) {
    return PipelineSchedule.byRank(
        ranks,
        microBatches,
        stage -> {
          List<Action> actions = new ArrayList<>();
          for (Action.Kind kind : List.of(Action.Kind.FORWARD, Action.Kind.BACKWARD)) {
            for (int microBatch = 0; microBatch < microBatches; microBatch++) {
              actions.add(new Action(stage, kind, microBatch));
            }
          }
          return actions;
        });
  }
}
