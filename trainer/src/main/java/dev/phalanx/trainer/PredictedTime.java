package dev.phalanx.trainer;

import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.mesh.DeviceMesh;
import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.parallelism.plan.StepTime;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.model.TransformerConfig;
import dev.phalanx.trainer.rehearsal.SentOperations;
import java.util.List;
import java.util.function.Function;

/** From what ranks would compute and send to how long a step takes. */
final class PredictedTime {
  private final JobConfig config;
  private final TransformerConfig model;
  private final DeviceMesh mesh;

  PredictedTime(JobConfig config, TransformerConfig model, DeviceMesh mesh) {
    this.config = config;
    this.model = model;
    this.mesh = mesh;
  }

  /**
   * @param places a rank of each place in the pipeline
   * @param repetition how many times as many micro-batches as were rehearsed a step has
   */
  StepTime on(Cluster cluster, PipelinePlan pipeline, List<Rehearsal> places, double repetition) {
    StepTime.Links links =
        new StepTime.Links(
            cluster.between(mesh.groups(Axis.TENSOR)),
            cluster.between(mesh.groups(Axis.CONTEXT)),
            cluster.between(mesh.groups(Axis.EXPERT)),
            cluster.between(mesh.groups(RankGroups.DIVIDING_EACH)),
            cluster.between(mesh.groups(Axis.PIPELINE)));
    return StepTime.of(
        pipeline.table(),
        places.stream().map(place -> work(place, repetition, cluster)).toList(),
        cluster,
        links);
  }

  private StepTime.Work work(Rehearsal place, double repetition, Cluster cluster) {
    boolean isDataPerMicroBatch = config.sharding().zero() >= 2;
    SentOperations tensor = place.sentInPasses(Axis.TENSOR);
    SentOperations context = place.sent(Axis.CONTEXT);
    SentOperations expert = place.sentInPasses(Axis.EXPERT);
    return new StepTime.Work(
        place.operations() * repetition,
        place.attentionOperations() * repetition,
        model.isRecomputed(),
        new StepTime.Sent(
            tensor.bytes() * repetition, roundTheRing(tensor, mesh.size(Axis.TENSOR)) * repetition),
        new StepTime.Sent(context.bytes() * repetition, context.count() * repetition),
        new StepTime.Sent(expert.bytes() * repetition, expert.count() * repetition),
        copies(place),
        afterPasses(place),
        hopBytes(),
        tailBytes(place.sent(Axis.PIPELINE)),
        dataSeconds(place, cluster) + (repetition - 1) * dataSecondsOfPasses(place, cluster),
        isDataPerMicroBatch,
        2.0 * place.optimizerBytes() + place.gradientBytes() + place.parameterBytes());
  }

  private StepTime.Sent copies(Rehearsal place) {
    return betweenDividing(place::sentForCopies);
  }

  private StepTime.Sent afterPasses(Rehearsal place) {
    StepTime.Sent all = betweenDividing(place::sent);
    StepTime.Sent inPasses = betweenDividing(place::sentInPasses);
    StepTime.Sent copies = copies(place);
    return new StepTime.Sent(
        all.bytes() - inPasses.bytes() - copies.bytes(),
        all.messages() - inPasses.messages() - copies.messages());
  }

  private StepTime.Sent betweenDividing(Function<Axis, SentOperations> sent) {
    double bytes = 0;
    double messages = 0;
    int ranks = mesh.group(0, RankGroups.DIVIDING_EACH).size();
    for (Axis axis : RankGroups.DIVIDING_EACH) {
      bytes += sent.apply(axis).bytes();
      messages += roundTheRing(sent.apply(axis), ranks);
    }
    return new StepTime.Sent(bytes, messages);
  }

  private double dataSeconds(Rehearsal place, Cluster cluster) {
    return dataSeconds(
        place.sent(Axis.DATA), place.sentInShards(), place.sentToReplicas(), cluster);
  }

  /** What of them each micro-batch takes: gradients that are sharded, and parameters. */
  private double dataSecondsOfPasses(Rehearsal place, Cluster cluster) {
    return config.sharding().zero() < 2
        ? 0
        : dataSeconds(
            place.sentInPasses(Axis.DATA),
            place.sentInShardsInPasses(),
            place.sentToReplicasInPasses(),
            cluster);
  }

  /** Within the groups that share a copy, between these, and among all data-parallel ranks. */
  private double dataSeconds(
      SentOperations all, SentOperations inShards, SentOperations toReplicas, Cluster cluster) {
    List<List<Integer>> alike = mesh.groups(RankGroups.ALIKE);
    int shards = ShardGroups.shards(config.sharding(), alike.get(0).size());
    List<List<Integer>> sharing = each(alike, members -> ShardGroups.sharing(members, shards));
    List<List<Integer>> replicas = each(alike, members -> ShardGroups.replicas(members, shards));
    SentOperations among = all.without(inShards).without(toReplicas);
    return dataSeconds(inShards, sharing, cluster)
        + dataSeconds(toReplicas, replicas, cluster)
        + dataSeconds(among, alike, cluster);
  }

  private static List<List<Integer>> each(
      List<List<Integer>> groups, Function<List<Integer>, List<List<Integer>>> divided) {
    return groups.stream().flatMap(group -> divided.apply(group).stream()).toList();
  }

  private static double dataSeconds(
      SentOperations sent, List<List<Integer>> groups, Cluster cluster) {
    int levels = levels(groups.get(0).size());
    return cluster.between(groups).seconds(sent.bytes(), passes(sent) * (double) levels);
  }

  /** Messages of a group that follow each other. */
  private static double roundTheRing(SentOperations sent, int ranks) {
    return passes(sent) * (ranks - 1.0);
  }

  /** An all-reduce goes through its group twice: a sum is made, and told. */
  private static long passes(SentOperations sent) {
    SentOperations.Sent sums = sent.byName().get("all_reduce");
    return sent.count() + (sums == null ? 0 : sums.count());
  }

  /** Of a tree, which small messages take. */
  private static int levels(int ranks) {
    return Integer.SIZE - Integer.numberOfLeadingZeros(ranks - 1);
  }

  /** Of tied tables and of the norm; activations and gradients are exchanges. */
  private static double tailBytes(SentOperations pipeline) {
    SentOperations.Sent sums = pipeline.byName().get("all_reduce");
    return sums == null ? 0 : sums.bytes();
  }

  private double hopBytes() {
    long divided =
        (config.parallel().sequenceParallel() ? mesh.size(Axis.TENSOR) : 1)
            * mesh.size(Axis.CONTEXT);
    return (double) config.batch().micro()
        * model.sequence()
        * model.hidden()
        * TrainingState.computeType(config.precision()).byteSize()
        / divided;
  }
}
