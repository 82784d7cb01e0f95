package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.tensor.Device;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.data.BatchPartition;
import dev.phalanx.trainer.data.BatchSource;
import dev.phalanx.trainer.rehearsal.RehearsalEngine;
import dev.phalanx.trainer.rehearsal.RehearsalGroups;
import dev.phalanx.trainer.rehearsal.SentOperations;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;

/**
 * A step of one rank of a job without its data, its memory, its arithmetic and the other ranks: the
 * job's own code, so what it says is what a run then counts.
 *
 * @param parameters of the model, whoever holds them
 * @param parameterBytes as the report's, and so are the next three
 * @param peakBytes of all tensors in the device's memory: the sum of the most that each arena holds
 *     at once, layers and gradients that are whole for a moment among it
 * @param hostPeakBytes of those in the host's, where an accelerator has memory of its own; else 0
 * @param operations floating-point operations of the model in the rank's step
 * @param attentionOperations of them those of attention
 * @param sent for the sake of each axis in the job's last step, or the second one where it has but
 *     one
 * @param sentOnce what a whole run sends on top of so many such steps as follow its first one: in
 *     that, and before it
 * @param sentInPasses what of a step's micro-batches send, not the sums of copies and the update
 * @param sentForCopies what sums gradients that ranks which divide the model have copies of while
 *     the last passes go on; the rest of these sums comes after them
 * @param sentInShards what of the data axis ranks that share a copy send each other, where hybrid
 *     sharding has several copies
 * @param sentToReplicas what ranks that hold the same part of them do
 * @param sentInShardsInPasses what of {@code sentInShards} micro-batches send
 * @param sentToReplicasInPasses what of {@code sentToReplicas} they do
 */
public record Rehearsal(
    long parameters,
    long parameterBytes,
    long gradientBytes,
    long optimizerBytes,
    long peakActivationBytes,
    long peakBytes,
    long hostPeakBytes,
    double operations,
    double attentionOperations,
    Map<Axis, SentOperations> sent,
    Map<Axis, SentOperations> sentOnce,
    Map<Axis, SentOperations> sentInPasses,
    Map<Axis, SentOperations> sentForCopies,
    SentOperations sentInShards,
    SentOperations sentToReplicas,
    SentOperations sentInShardsInPasses,
    SentOperations sentToReplicasInPasses) {

  /**
   * Losses of routers, which take no memory and send something only where sequences are divided,
   * are else left out.
   *
   * @param config of a plan that is valid for this number of ranks
   * @param device that ranks compute on, as a job's do
   */
  static Rehearsal of(
      JobConfig config,
      ModelSetup given,
      PipelinePlan pipeline,
      int rank,
      int worldSize,
      Device device)
      throws IOException, InterruptedException {
    ModelSetup setup = config.parallel().context() > 1 ? given : given.withoutRouterLosses();
    RehearsalEngine engine = new RehearsalEngine();
    RehearsalGroups groups = new RehearsalGroups(rank, worldSize);
    try (Arenas arenas = Arenas.open(engine.engine(), device);
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
      state.memory().refreshValues(); // the first ones
      agreeOnTheStart(config, arenas, rankGroups, state, groups);
      steps.run(0, () -> false); // in its first pass a rank learns what to gather ahead
      Counted before = Counted.of(engine, rankGroups);
      List<Counted> atEndOfPasses = new ArrayList<>(); // one
      steps.run(
          Math.max(1, config.steps() - 1),
          () -> { // asked when the passes are over, and the optimizer has not begun
            atEndOfPasses.add(Counted.of(engine, rankGroups));
            return false;
          });
      Counted passes = atEndOfPasses.get(0).since(before);
      Counted step = Counted.of(engine, rankGroups).since(before);
      return new Rehearsal(
          setup.config().parameterCount(),
          state.memory().parameterBytes(),
          state.memory().gradientBytes(),
          state.optimizerBytes(),
          arenas.step().peakBytesInUse(),
          arenas.state().peakBytesInUse()
              + arenas.step().peakBytesInUse()
              + (device.isCpu() ? arenas.host().peakBytesInUse() : 0),
          device.isCpu() ? 0 : arenas.host().peakBytesInUse(),
          passes.operations(),
          passes.attentionOperations(),
          step.sent(),
          before.sent(),
          passes.sentButForCopies(),
          passes.sentForCopies(),
          step.sentInShards(),
          step.sentToReplicas(),
          passes.sentInShards(),
          passes.sentToReplicas());
    }
  }

  /** Of a job that is not gone on with. */
  private static void agreeOnTheStart(
      JobConfig config,
      Arenas arenas,
      RankGroups rankGroups,
      TrainingState state,
      RehearsalGroups groups)
      throws IOException, InterruptedException {
    RankContext context =
        new RankContext(
            groups.rank(),
            groups.worldSize(),
            groups.rank(),
            groups.worldSize(),
            groups,
            groups.world(),
            1,
            Path.of(""),
            () -> false);
    try (Checkpointing checkpoints =
        Checkpointing.open(
            config.withoutCheckpoint(),
            context,
            arenas,
            rankGroups,
            state,
            new DataIdentity(Optional.empty(), Long.MAX_VALUE),
            JobListener.NONE)) {
      checkpoints.restore(Optional.empty());
    }
  }

  /** What has been counted since the start. */
  private record Counted(
      double operations,
      double attentionOperations,
      Map<Axis, SentOperations> sent,
      Map<Axis, SentOperations> sentButForCopies,
      Map<Axis, SentOperations> sentForCopies,
      SentOperations sentInShards,
      SentOperations sentToReplicas) {
    static Counted of(RehearsalEngine engine, RankGroups groups) {
      return new Counted(
          engine.operations(),
          engine.attentionOperations(),
          sent(groups::ofAxis),
          sent(groups::ofAxisButCopies),
          sent(groups::copiesOfAxis),
          RehearsalGroups.sent(groups.shards().ofSharing()),
          RehearsalGroups.sent(groups.shards().ofReplicas()));
    }

    private static Map<Axis, SentOperations> sent(Function<Axis, List<Communicator>> groups) {
      Map<Axis, SentOperations> sent = new EnumMap<>(Axis.class);
      for (Axis axis : RankGroups.COMMUNICATING_AXES) {
        sent.put(axis, RehearsalGroups.sent(groups.apply(axis)));
      }
      return sent;
    }

    Counted since(Counted earlier) {
      return new Counted(
          operations - earlier.operations,
          attentionOperations - earlier.attentionOperations,
          since(sent, earlier.sent),
          since(sentButForCopies, earlier.sentButForCopies),
          since(sentForCopies, earlier.sentForCopies),
          sentInShards.without(earlier.sentInShards),
          sentToReplicas.without(earlier.sentToReplicas));
    }

    private static Map<Axis, SentOperations> since(
        Map<Axis, SentOperations> sent, Map<Axis, SentOperations> earlier) {
      Map<Axis, SentOperations> difference = new EnumMap<>(sent);
      earlier.forEach(
          (axis, before) -> difference.computeIfPresent(axis, (same, all) -> all.without(before)));
      return difference;
    }
  }

  /** What the rank sends in a step for the sake of an axis. */
  public SentOperations sent(Axis axis) {
    return sent.getOrDefault(axis, new SentOperations());
  }

  /**
   * What the rank sends for the sake of an axis in a run, but for evaluations and checkpoints.
   *
   * @param steps at least 1
   */
  Traffic sent(Axis axis, long steps) {
    SentOperations once = sentOnce.getOrDefault(axis, new SentOperations());
    SentOperations each = sent(axis);
    return new Traffic(
        once.bytes() + (steps - 1) * each.bytes(), once.messages() + (steps - 1) * each.messages());
  }

  /** What of it micro-batches send. */
  SentOperations sentInPasses(Axis axis) {
    return sentInPasses.getOrDefault(axis, new SentOperations());
  }

  /** What of it sums gradients of copies while passes go on. */
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
