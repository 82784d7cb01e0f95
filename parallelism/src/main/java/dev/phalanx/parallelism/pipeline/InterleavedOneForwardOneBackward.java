package dev.phalanx.parallelism.pipeline;

import java.util.ArrayList;
import java.util.List;

/**
 * {@link OneForwardOneBackward} with v stages on each rank, so that a micro-batch goes round the
 * ranks v times and the pipeline fills v times sooner (Narayanan et al., 2021, 2.2): a part of
 * about (p - 1) / (v m) of the work's time is idle. In exchange rank 0 holds p + (p - 1) / v
 * micro-batches' activations where p divides m, and v times as many messages are sent.
 *
 * <p>Micro-batches go through in groups of at least p, where there are so many: a group passes a
 * rank's first stage, then its second one, and so on, before the next group comes. Groups are of as
 * equal sizes as m allows; larger groups hold more, up to all micro-batches where there are fewer
 * than 2 p.
 *
 * @param stagesOfRank v, at least 1
 */
public record InterleavedOneForwardOneBackward(int stagesOfRank) implements PipelineSchedule {
  public InterleavedOneForwardOneBackward {
    if (stagesOfRank < 1) {
      throw new ScheduleException("a rank has at least one stage, not " + stagesOfRank);
    }
  }

  @Override
  public ScheduleTable table(int ranks, int microBatches) {
    return PipelineSchedule.byRank(ranks, microBatches, rank -> actions(rank, ranks, microBatches));
  }

  private List<Action> actions(int rank, int ranks, int microBatches) {
    List<Action> forwards = new ArrayList<>();
    List<Action> backwards = new ArrayList<>();
    int groups = Math.max(1, microBatches / ranks);
    for (int group = 0; group < groups; group++) {
      int first = (int) ((long) microBatches * group / groups);
      int end = (int) ((long) microBatches * (group + 1) / groups);
      for (int chunk = 0; chunk < stagesOfRank; chunk++) {
        for (int microBatch = first; microBatch < end; microBatch++) {
          forwards.add(new Action(chunk * ranks + rank, Action.Kind.FORWARD, microBatch));
          int last = stagesOfRank - 1 - chunk;
          backwards.add(new Action(last * ranks + rank, Action.Kind.BACKWARD, microBatch));
        }
      }
    }
    int group = (microBatches + groups - 1) / groups;
    int warmUp = Math.min(forwards.size(), 2 * (ranks - 1 - rank) + (stagesOfRank - 1) * group);
    List<Action> actions = new ArrayList<>();
    for (int i = 0; i < forwards.size() + warmUp; i++) {
      if (i < forwards.size()) {
        actions.add(forwards.get(i));
      }
      if (i >= warmUp) {
        actions.add(backwards.get(i - warmUp));
      }
    }
    return actions;
  }
}
