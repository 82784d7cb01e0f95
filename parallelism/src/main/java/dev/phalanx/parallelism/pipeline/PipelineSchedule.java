package dev.phalanx.parallelism.pipeline;

import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/**
 * A way to order forward and backward passes: it makes the table for any number of ranks and
 * micro-batches.
 */
public interface PipelineSchedule {
  /**
   * @param ranks at least 1; stage s is on rank s modulo {@code ranks}
   * @param microBatches at least 1
   */
  ScheduleTable table(int ranks, int microBatches);

  /** Each rank's actions by a function of its number. */
  static ScheduleTable byRank(int ranks, int microBatches, IntFunction<List<Action>> actions) {
    if (ranks < 1 || microBatches < 1) {
      throw new ScheduleException(
          "a pipeline has at least one rank and one micro-batch, not "
              + ranks
              + " and "
              + microBatches);
    }
    return new ScheduleTable(IntStream.range(0, ranks).mapToObj(actions).toList());
  }
}
