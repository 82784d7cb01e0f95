package dev.phalanx.parallelism.pipeline;

import java.util.ArrayList;
import java.util.List;

/**
 * After a warm-up of p - 1 - s forward passes on stage s, one forward and one backward pass in turn
 * (Narayanan et al., 2019, "PipeDream"; its flush is that of Narayanan et al., 2021, "Efficient
 * Large-Scale Language Model Training on GPU Clusters", 2.2). Idle as {@link GPipe} is, but stage s
 * holds the activations of p - s micro-batches only.
 *
 * <pre>
 *   stage 0   F0 F1 F2 .  .  B0 F3 B1 ...
 *   stage 1   .  F0 F1 .  B0 F2 B1 F3 ...
 *   stage 2   .  .  F0 B0 F1 B1 F2 B2 ...
 * </pre>
 */
public record OneForwardOneBackward() implements PipelineSchedule {
  @Override
  public ScheduleTable table(int ranks, int microBatches) {
    return PipelineSchedule.byRank(
        ranks,
        microBatches,
        stage -> {
          int warmUp = Math.min(microBatches, ranks - 1 - stage);
          List<Action> actions = new ArrayList<>();
          for (int i = 0; i < microBatches + warmUp; i++) {
            if (i < microBatches) {
              actions.add(new Action(stage, Action.Kind.FORWARD, i));
            }
            if (i >= warmUp) {
              actions.add(new Action(stage, Action.Kind.BACKWARD, i - warmUp));
            }
          }
          return actions;
        });
  }
}
