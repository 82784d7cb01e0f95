package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.tensor.Device;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.data.BatchPartition;
import dev.phalanx.trainer.data.BatchSource;
import dev.phalanx.trainer.rehearsal.RehearsalEngine;
import dev.phalanx.trainer.rehearsal.RehearsalGroups;
import dev.phalanx.trainer.rehearsal.SentOperations;
import java.io.IOException;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * A step of one rank of a job without its data, its memory, its arithmetic and the other ranks: the
 * job's own code, so what it says is what a run then counts.
 *
 * @param parameters of the model, whoever holds them
 * @param parameterBytes as the report's, and so are the next three
 * @param peakBytes of all tensors: the sum of the most that each arena holds at once, layers and
 *     gradients that are whole for a moment among it
 * @param operations floating-point operations of the model in the rank's step
 * @param attentionOperations of them those of attention
 * @param sent for the sake of each axis in the job's last step, or the second one where it has but
 *     one
 * @param sentInPasses what of it micro-batches send, not the sums of copies and the update
 * @param sentForCopies what of it sums gradients that ranks which divide the model have copies of
 */
public record Rehearsal(
    long parameters,
    long parameterBytes,
    long gradientBytes,
    long optimizerBytes,
    long peakActivationBytes,
    long peakBytes,
    double operations,
    double attentionOperations,
    Map<Axis, SentOperations> sent,
    Map<Axis, SentOperations> sentInPasses,
    Map<Axis, SentOperations> sentForCopies) {

  /**
   * @param config of a plan that is valid for this number of ranks
   */
  static Rehearsal of(
      JobConfig config, ModelSetup setup, PipelinePlan pipeline, int rank, int worldSize)
      throws IOException, InterruptedException {
    RehearsalEngine engine = new RehearsalEngine();
    RehearsalGroups groups = new RehearsalGroups(rank, worldSize);
    try (Arenas arenas = Arenas.open(engine.engine(), Device.CPU);
        RankGroups rankGroups =
            RankGroups.open(config, pipeline, setup.config(), groups, groups.world())) {
      TrainingState state = new TrainingState(arenas, rankGroups, setup, config);
      BatchPartition partition =
          new BatchPartition(
              config.batch().global(),
              rankGroups.batchShares(),
              rankGroups.batchShare(),
              Math.toIntExact(config.batch().micro()));
      StepRunner steps =
          new StepRunner(
              arenas,
              state,
              rankGroups,
              samples(Math.toIntExact(setup.config().sequence())),
              partition,
              config);
      steps.run(0, () -> false); // in its first pass a rank learns what to gather ahead
      Map<Axis, SentOperations> before = sent(rankGroups::ofAxis);
      Map<Axis, SentOperations> beforeCopies = sent(rankGroups::copiesOfAxis);
      steps.run(Math.max(1, config.steps() - 1), () -> false);
      Map<Axis, SentOperations> sent = sent(rankGroups::ofAxis);
      Map<Axis, SentOperations> forCopies = sent(rankGroups::copiesOfAxis);
      subtract(sent, before);
      subtract(forCopies, beforeCopies);
      double operationsBefore = engine.operations();
      double attentionBefore = engine.attentionOperations();
      Map<Axis, SentOperations> beforePasses = sent(rankGroups::ofAxisButCopies);
      steps.runPasses(0); // the optimizer's and codecs' products are not the model's
      Map<Axis, SentOperations> inPasses = sent(rankGroups::ofAxisButCopies);
      subtract(inPasses, beforePasses);
      double operations = engine.operations() - operationsBefore;
      return new Rehearsal(
          setup.config().parameterCount(),
          state.memory().parameterBytes(),
          state.memory().gradientBytes(),
          state.optimizerBytes(),
          arenas.step().peakBytesInUse(),
          arenas.state().peakBytesInUse()
              + arenas.step().peakBytesInUse()
              + arenas.host().peakBytesInUse(),
          operations,
          engine.attentionOperations() - attentionBefore,
          sent,
          inPasses,
          forCopies);
    }
  }

  private static void subtract(Map<Axis, SentOperations> sent, Map<Axis, SentOperations> before) {
    before.forEach(
        (axis, earlier) -> sent.computeIfPresent(axis, (same, all) -> all.since(earlier)));
  }

  private static Map<Axis, SentOperations> sent(Function<Axis, List<Communicator>> groups) {
    Map<Axis, SentOperations> sent = new EnumMap<>(Axis.class);
    for (Axis axis : RankGroups.COMMUNICATING_AXES) {
      sent.put(axis, RehearsalGroups.sent(groups.apply(axis)));
    }
    return sent;
  }

  /** What the rank sends in a step for the sake of an axis. */
  public SentOperations sent(Axis axis) {
    return sent.getOrDefault(axis, new SentOperations());
  }

  /** What of it micro-batches send. */
  SentOperations sentInPasses(Axis axis) {
    return sentInPasses.getOrDefault(axis, new SentOperations());
  }

  /** What of it sums gradients of copies. */
  SentOperations sentForCopies(Axis axis) {
    return sentForCopies.getOrDefault(axis, new SentOperations());
  }

  /** Bytes that the rank sends in a step. */
  public long bytesSent() {
    return sent.values().stream().mapToLong(SentOperations::bytes).sum();
  }

  private static BatchSource samples(int sequence) {
    return new BatchSource() {
      @Override
      public int sequence() {
        return sequence;
      }

      @Override
      public long samplesPerEpoch() {
        return Long.MAX_VALUE;
      }

      @Override
      public void fill(long firstSample, int count, long[] inputs, long[] targets) {
        // nobody reads them
      }
    };
  }
}
