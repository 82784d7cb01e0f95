package dev.phalanx.parallelism.plan;

import dev.phalanx.parallelism.pipeline.Action;
import dev.phalanx.parallelism.pipeline.ScheduleSimulator;
import dev.phalanx.parallelism.pipeline.ScheduleTable;
import dev.phalanx.parallelism.pipeline.ScheduleTiming;
import dev.phalanx.parallelism.pipeline.StageCosts;
import java.util.List;

/**
 * How long a step takes, from what each rank computes and sends.
 *
 * <pre>
 *   forward    = operations / rate + tensor communication       which nothing hides, here and where
 *                                                               the backward pass computes it again
 *   backward   = operations / rate + what of its tensor communication is longer than the weights'
 *                products, which are computed meanwhile
 *   passes     = the schedule's table, simulated with these times and the hops between stages
 *   step       = passes + what of the data-parallel communication is longer than what hides it
 *                + the sum of a tied table between the stages that have it
 *                + the update, which is bound by memory
 * </pre>
 *
 * <p>Each rank's layers are taken to be alike, and every device as fast as the others.
 *
 * @param passesSeconds of all micro-batches, the pipeline's idle time among it
 * @param exposedDataSeconds communication after the passes that no computation hides
 * @param updateSeconds of the optimizer
 */
public record StepTime(double passesSeconds, double exposedDataSeconds, double updateSeconds) {
  /**
   * What a rank does in a step; ranks with the same place in the pipeline are alike.
   *
   * @param operations floating-point operations of all passes
   * @param isRecomputed whether the backward pass computes the forward pass again
   * @param tensorBytes sent along the tensor axis
   * @param tensorMessages that follow each other
   * @param hopBytes of an activation that goes to the next stage
   * @param tailBytes sent between stages after the passes
   * @param dataBytes sent along the data axis
   * @param dataMessages that follow each other
   * @param isDataPerMicroBatch whether gradients or parameters are sent in each micro-batch, under
   *     all passes; else under one of each
   * @param updateBytes that the optimizer reads and writes
   */
  public record Work(
      double operations,
      boolean isRecomputed,
      double tensorBytes,
      double tensorMessages,
      double hopBytes,
      double tailBytes,
      double dataBytes,
      double dataMessages,
      boolean isDataPerMicroBatch,
      double updateBytes) {}

  /** The links that a job's groups talk over. */
  public record Links(Cluster.Link tensor, Cluster.Link pipeline, Cluster.Link data) {}

  /** Seconds of one micro-batch on one rank. */
  private record PassTimes(double forward, double backwardInput, double backwardWeight) {
    double both() {
      return forward + backwardInput + backwardWeight;
    }
  }

  public double seconds() {
    return passesSeconds + exposedDataSeconds + updateSeconds;
  }

  /**
   * @param work of each place in the pipeline
   */
  public static StepTime of(ScheduleTable table, List<Work> work, Cluster cluster, Links links) {
    int microBatches = table.microBatches();
    List<PassTimes> times =
        work.stream().map(each -> passTimes(each, microBatches, cluster, links.tensor())).toList();
    double hop =
        table.ranks().size() == 1 ? 0 : links.pipeline().seconds(work.get(0).hopBytes(), 1);
    ScheduleTiming timing = ScheduleSimulator.simulate(table, costs(table, times, hop));
    double exposed = 0;
    double update = 0;
    for (int rank = 0; rank < work.size(); rank++) {
      Work of = work.get(rank);
      double data = links.data().seconds(of.dataBytes(), of.dataMessages());
      double hidden = times.get(rank).both() * (of.isDataPerMicroBatch() ? microBatches : 1);
      double tail = of.tailBytes() == 0 ? 0 : links.pipeline().seconds(of.tailBytes(), 2);
      exposed = Math.max(exposed, Math.max(0, data - hidden) + tail);
      update = Math.max(update, of.updateBytes() / cluster.memoryBytesPerSecond());
    }
    return new StepTime(timing.makespan(), exposed, update);
  }

  private static PassTimes passTimes(
      Work work, int microBatches, Cluster cluster, Cluster.Link tensor) {
    double compute = work.operations() / microBatches / cluster.operationsPerSecond();
    double communication = tensor.seconds(work.tensorBytes(), work.tensorMessages()) / microBatches;
    // A backward pass is as much again for inputs as the forward pass, and for weights.
    int parts = work.isRecomputed() ? 4 : 3;
    double part = compute / parts;
    double sums = communication / (parts - 1); // of one pass forward, or backward
    double backward = part + Math.max(0, sums - part);
    return work.isRecomputed()
        ? new PassTimes(part + sums, part + sums + part + backward, 0) // layer by layer, all in one
        : new PassTimes(part + sums, backward, part);
  }

  private static StageCosts costs(ScheduleTable table, List<PassTimes> times, double hop) {
    return new StageCosts() {
      @Override
      public double of(Action action) {
        int rank = table.rankOf(action.stage());
        PassTimes pass = times.get(rank);
        double ofRank =
            StageCosts.uniform(pass.forward(), pass.backwardInput(), pass.backwardWeight(), hop)
                .of(action);
        return ofRank / table.stagesOf(rank).size();
      }

      @Override
      public double hop() {
        return hop;
      }
    };
  }
}
