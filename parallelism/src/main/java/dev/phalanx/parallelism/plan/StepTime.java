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
 *   context    = what of the keys' and gradients' way round the ring takes longer than attention,
 *                a third of it in forward, two thirds in backward
 *   exchange   = tokens to the ranks of their experts and back, which nothing hides
 *   step       = passes + what of the data-parallel communication, and of those sums of what ranks
 *                  that divide the layers have copies of that begin in passes, is longer than what
 *                  hides it
 *                + the sum of a tied table between the stages that have it
 *                + the other sums of copies, and what an optimizer wants of whole parameters
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
   * What is sent along an axis.
   *
   * @param messages that follow each other
   */
  public record Sent(double bytes, double messages) {
    public static final Sent NOTHING = new Sent(0, 0);
  }

  /**
   * What a rank does in a step; ranks with the same place in the pipeline are alike.
   *
   * @param operations floating-point operations of all passes
   * @param attentionOperations of them those of attention, over whole sequences
   * @param isRecomputed whether the backward pass computes the forward pass again
   * @param exchanged with the ranks of other experts in all passes
   * @param copies what ranks that divide the layers send each other to sum gradients of which each
   *     has a part, as far as they begin while the last passes go on
   * @param afterPasses what they send each other then: the rest of these sums, the norm, and what
   *     an optimizer wants of whole parameters
   * @param hopBytes of an activation that goes to the next stage
   * @param tailBytes sent between stages after the passes
   * @param dataSeconds how long what data-parallel ranks send is on its way: not all of their
   *     groups need talk over the same link
   * @param isDataPerMicroBatch whether gradients or parameters are sent in each micro-batch, under
   *     all passes; else under one of each
   * @param updateBytes that the optimizer reads and writes
   */
  public record Work(
      double operations,
      double attentionOperations,
      boolean isRecomputed,
      Sent tensor,
      Sent context,
      Sent exchanged,
      Sent copies,
      Sent afterPasses,
      double hopBytes,
      double tailBytes,
      double dataSeconds,
      boolean isDataPerMicroBatch,
      double updateBytes) {}

  /**
   * The links that a job's groups talk over.
   *
   * @param dividing between all ranks that divide the same layers
   */
  public record Links(
      Cluster.Link tensor,
      Cluster.Link context,
      Cluster.Link expert,
      Cluster.Link dividing,
      Cluster.Link pipeline) {}

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
        work.stream().map(each -> passTimes(each, microBatches, cluster, links)).toList();
    double hop =
        table.ranks().size() == 1 ? 0 : links.pipeline().seconds(work.get(0).hopBytes(), 1);
    ScheduleTiming timing = ScheduleSimulator.simulate(table, costs(table, times, hop));
    double exposed = 0;
    double update = 0;
    for (int rank = 0; rank < work.size(); rank++) {
      Work of = work.get(rank);
      double hidden = times.get(rank).both() * (of.isDataPerMicroBatch() ? microBatches : 1);
      double tail = of.tailBytes() == 0 ? 0 : links.pipeline().seconds(of.tailBytes(), 2);
      double copies = seconds(links.dividing(), of.copies());
      double afterPasses = seconds(links.dividing(), of.afterPasses());
      exposed =
          Math.max(exposed, Math.max(0, of.dataSeconds() + copies - hidden) + tail + afterPasses);
      update = Math.max(update, of.updateBytes() / cluster.memoryBytesPerSecond());
    }
    return new StepTime(timing.makespan(), exposed, update);
  }

  private static PassTimes passTimes(Work work, int microBatches, Cluster cluster, Links links) {
    double compute = work.operations() / microBatches / cluster.operationsPerSecond();
    double communication = seconds(links.tensor(), work.tensor()) / microBatches;
    double ring = exposedRing(work, cluster, links.context()) / microBatches;
    // A backward pass is as much again for inputs as the forward pass, and for weights.
    int parts = work.isRecomputed() ? 4 : 3;
    double part = compute / parts;
    double sums = communication / (parts - 1); // of one pass forward, or backward
    double exchange = seconds(links.expert(), work.exchanged()) / microBatches / (parts - 1);
    double forward = part + sums + ring / parts + exchange;
    double backward = part + Math.max(0, sums - part) + 2 * ring / parts + exchange;
    return work.isRecomputed()
        ? new PassTimes(forward, forward + part + backward, 0) // layer by layer, all in one
        : new PassTimes(forward, backward, part);
  }

  private static double exposedRing(Work work, Cluster cluster, Cluster.Link link) {
    double computed = work.attentionOperations() / 2; // causal: half of the scores are left out
    double attention = computed / cluster.operationsPerSecond();
    return Math.max(0, seconds(link, work.context()) - attention);
  }

  private static double seconds(Cluster.Link link, Sent sent) {
    return link.seconds(sent.bytes(), sent.messages());
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
