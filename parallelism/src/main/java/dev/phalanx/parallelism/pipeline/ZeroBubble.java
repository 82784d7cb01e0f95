package dev.phalanx.parallelism.pipeline;

import java.util.ArrayList;
import java.util.List;

/**
 * Backward passes in two halves: the gradient of a stage's input at once, for the stage before
 * waits for it, and those of its weights later, where it would be idle otherwise (Qi et al., 2023,
 * "Zero Bubble Pipeline Parallelism"). With times F, B (input) and W (weights) the busiest rank is
 * idle for, where there are 2 p - 1 micro-batches or more and F + B is no less than 2 W,
 *
 * <pre>
 *   H1   (p - 1) (F + B - W)      activations of p micro-batches on every stage
 *   H2   (p - 1) (F + B - 2 W)    of 2 p - 1
 * </pre>
 *
 * <p>Stage s of H1 leaves weight gradients s micro-batches behind; of H2 2 s, after a warm-up of 2
 * (p - s) - 1 forward passes.
 */
public record ZeroBubble(Variant variant) implements PipelineSchedule {
  /** How much memory it may take. */
  public enum Variant {
    /** As much as one forward, one backward. */
    H1,
    /** About twice as much. */
    H2
  }

  @Override
  public ScheduleTable table(int ranks, int microBatches) {
    return PipelineSchedule.byRank(
        ranks,
        microBatches,
        stage ->
            switch (variant) {
              case H1 -> actions(stage, microBatches, ranks - stage, stage);
              case H2 -> actions(stage, microBatches, 2 * (ranks - stage) - 1, 2 * stage);
            });
  }

  private static List<Action> actions(int stage, int microBatches, int warmUp, int delay) {
    List<Action> actions = new ArrayList<>();
    for (int i = 0; i < Math.min(warmUp, microBatches); i++) {
      actions.add(new Action(stage, Action.Kind.FORWARD, i));
    }
    for (int i = 0; i < microBatches + delay; i++) {
      if (i < microBatches) {
        actions.add(new Action(stage, Action.Kind.BACKWARD_INPUT, i));
      }
      if (i >= delay) {
        actions.add(new Action(stage, Action.Kind.BACKWARD_WEIGHT, i - delay));
      }
      if (i + warmUp < microBatches) {
        actions.add(new Action(stage, Action.Kind.FORWARD, i + warmUp));
      }
    }
    return actions;
  }
}
