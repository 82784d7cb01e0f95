package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ProcessGroups;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.mesh.DeviceMesh;
import dev.phalanx.parallelism.pipeline.PipelineExecutor;
import dev.phalanx.parallelism.pipeline.StageChannel;
import dev.phalanx.parallelism.tensor.Replicas;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.model.HeadShare;
import dev.phalanx.trainer.model.Transformer;
import dev.phalanx.trainer.model.TransformerConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A rank's place in the mesh and the groups of ranks that it talks to. All ranks make theirs
 * together.
 *
 * <pre>
 *   world       losses, votes, checkpoints; counted as the data axis'
 *   data        ranks with the same part of the model, those that divide a sequence among them;
 *               shards of it are ShardGroups
 *   context     ranks that divide each sequence
 *   tensor      ranks that divide each matrix; of them those with the same key and value heads
 *   expert      ranks that divide the experts of each layer, and have copies of the rest, together
 *               with those of the groups above and below that have them too
 *   pipeline    ranks with other layers; of them the first and the last, which share a tied table
 *   copies      of each of these, and of all that have the same elements: sums of gradients of
 *               which each has a part, in groups of their own
 *   model       the ranks that have a copy of the model together
 *   holders     the ranks that have all of one stage's parameters together
 * </pre>
 */
final class RankGroups implements AutoCloseable {
  /** Axes along which ranks send, as reports name them. */
  static final List<Axis> COMMUNICATING_AXES =
      List.of(Axis.DATA, Axis.TENSOR, Axis.PIPELINE, Axis.CONTEXT, Axis.EXPERT);

  /** Axes along which ranks hold the same part of the model. */
  static final Set<Axis> ALIKE = Set.of(Axis.DATA, Axis.CONTEXT);

  /** Axes along which ranks have other parts of the same parameters. */
  static final Set<Axis> DIVIDING_EACH = Set.of(Axis.TENSOR, Axis.EXPERT);

  private static final Set<Axis> DIVIDING = EnumSet.complementOf(EnumSet.copyOf(ALIKE));

  /** A group, and the axis for whose sake ranks send in it. */
  private record Opened(Axis axis, Communicator ranks) {}

  private final DeviceMesh mesh;
  private final Communicator world;
  private final Communicator data;
  private final ShardGroups shards;
  private final Map<Axis, Communicator> parallel = new EnumMap<>(Axis.class);
  private final Map<String, Communicator> copies = new HashMap<>();
  private final Map<StageChannel, Communicator> channels = new HashMap<>();
  private final PipelinePlan pipeline;
  private final List<Opened> own; // closed with this
  private final @Nullable Communicator model;
  private final @Nullable Communicator holders; // null: the shards alone, or nobody asks

  private RankGroups(
      DeviceMesh mesh,
      PipelinePlan pipeline,
      TransformerConfig config,
      JobConfig job,
      ProcessGroups ranks,
      Communicator world,
      List<Opened> opened)
      throws IOException, InterruptedException {
    this.mesh = mesh;
    this.pipeline = pipeline;
    this.world = world;
    this.own = opened;
    int rank = ranks.rank();
    List<Integer> alike = mesh.group(rank, ALIKE);
    boolean isWholeModel = alike.size() == mesh.worldSize();
    this.data =
        isWholeModel
            ? world
            : open(ranks, Axis.DATA, "data[" + mesh.groupNumber(rank, ALIKE) + "]", alike);
    for (Axis axis : List.of(Axis.TENSOR, Axis.CONTEXT, Axis.EXPERT, Axis.PIPELINE)) {
      if (mesh.size(axis) > 1) {
        parallel.put(axis, open(ranks, axis, name(axis), mesh.group(rank, axis)));
      }
    }
    openCopies(config, job, ranks);
    openChannels(ranks);
    this.model =
        isWholeModel
            ? null
            : open(
                ranks, Axis.DATA, "model[" + alike.indexOf(rank) + "]", mesh.group(rank, DIVIDING));
    this.holders =
        job.optimizer().algorithm().looksAtWholeParameters()
            ? openHolders(job.sharding(), ranks)
            : null;
    this.shards = ShardGroups.of(job.sharding(), ranks, data, alike);
  }

  /** All shards of the first rank that divides the parameters, then those of the next. */
  private @Nullable Communicator openHolders(JobConfig.Sharding sharding, ProcessGroups ranks)
      throws IOException, InterruptedException {
    List<Integer> dividing = dividingEach();
    if (dividing.size() == 1) {
      return null;
    }
    int count = ShardGroups.shards(sharding, data.size());
    int first = data.rank() / count * count; // in the data groups of all, which are alike
    List<Integer> members =
        dividing.stream()
            .flatMap(part -> mesh.group(part, ALIKE).subList(first, first + count).stream())
            .toList();
    for (Axis axis : DIVIDING_EACH) {
      if (members.equals(mesh.group(ranks.rank(), axis))) {
        return parallel.get(axis);
      }
    }
    Axis axis = mesh.size(Axis.TENSOR) > 1 ? Axis.TENSOR : Axis.EXPERT;
    return open(ranks, axis, "holders[" + members.get(0) + "]", members);
  }

  /** The ranks that have other parts of the same parameters, this one among them. */
  List<Integer> dividingEach() {
    return mesh.group(world.rank(), DIVIDING_EACH);
  }

  /** Ranks that hold the same elements of a model though they divide it. */
  private void openCopies(TransformerConfig config, JobConfig job, ProcessGroups ranks)
      throws IOException, InterruptedException {
    List<Integer> tensor = mesh.group(ranks.rank(), Axis.TENSOR);
    int place = tensor.indexOf(ranks.rank());
    boolean hasParts = job.parallel().sequenceParallel() || config.mixture().isPresent();
    if (hasParts && tensor.size() > 1) {
      addCopies(TensorGroup.COPIES, Axis.TENSOR, tensor, ranks);
    }
    if (mesh.size(Axis.EXPERT) > 1) {
      openCopies(Replicas.COPIES, Axis.EXPERT, mesh.group(ranks.rank(), Axis.EXPERT), ranks);
    }
    int sharing = HeadShare.ranksPerKeyValueHead(config.keyValueHeads(), tensor.size());
    if (sharing > 1) {
      int firstPlace = place / sharing * sharing;
      List<Integer> same = tensor.subList(firstPlace, firstPlace + sharing);
      addCopies(TensorGroup.KEY_VALUE_COPIES, Axis.TENSOR, same, ranks);
    }
    List<Integer> stages = mesh.group(ranks.rank(), Axis.PIPELINE);
    int stage = stages.indexOf(ranks.rank());
    int first = pipeline.table().rankOf(0);
    int last = pipeline.table().rankOf(pipeline.table().stages() - 1);
    if (config.isTied() && first != last && (stage == first || stage == last)) {
      List<Integer> ends = List.of(stages.get(first), stages.get(last));
      addCopies(Transformer.EMBEDDING_COPIES, Axis.PIPELINE, ends, ranks);
    }
  }

  /**
   * Ranks of a group with copies, and those along the expert axis that have them too.
   *
   * @param axis that the group is for
   */
  private void addCopies(String name, Axis axis, List<Integer> members, ProcessGroups ranks)
      throws IOException, InterruptedException {
    if (mesh.size(Axis.EXPERT) == 1) {
      openCopies(name, axis, members, ranks);
      return;
    }
    List<Integer> joined =
        members.stream()
            .flatMap(member -> mesh.group(member, Axis.EXPERT).stream())
            .sorted()
            .toList();
    openCopies(Replicas.joined(name), axis, joined, ranks);
  }

  /** A group of its own: what passes wait for does not stand behind gradients. */
  private void openCopies(String name, Axis axis, List<Integer> members, ProcessGroups ranks)
      throws IOException, InterruptedException {
    copies.put(name, open(ranks, axis, name + " copies[" + members.get(0) + "]", members));
  }

  private void openChannels(ProcessGroups ranks) throws IOException, InterruptedException {
    List<Integer> members = mesh.group(ranks.rank(), Axis.PIPELINE);
    int place = members.indexOf(ranks.rank());
    for (StageChannel channel : PipelineExecutor.channels(pipeline.table())) {
      if (channel.from() == place || channel.to() == place) {
        List<Integer> ends = List.of(members.get(channel.from()), members.get(channel.to()));
        String name = name(Axis.PIPELINE) + " " + channel.label();
        channels.put(channel, open(ranks, Axis.PIPELINE, name, ends));
      }
    }
  }

  /**
   * @param pipeline of this job
   * @param config sizes of the model, complete
   * @param world the group of all ranks, which the caller closes
   */
  static RankGroups open(
      JobConfig job,
      PipelinePlan pipeline,
      TransformerConfig config,
      ProcessGroups ranks,
      Communicator world)
      throws IOException, InterruptedException {
    List<Opened> opened = new ArrayList<>();
    try {
      return new RankGroups(
          job.parallel().mesh(world.size()), pipeline, config, job, ranks, world, opened);
    } catch (IOException | InterruptedException | RuntimeException e) {
      opened.forEach(group -> group.ranks().close());
      throw e;
    }
  }

  private Communicator open(ProcessGroups ranks, Axis axis, String name, List<Integer> members)
      throws IOException, InterruptedException {
    Communicator opened = ranks.group(name, members);
    own.add(new Opened(axis, opened));
    return opened;
  }

  /** {@code tensor[0]} is the group of rank 0. */
  private String name(Axis axis) {
    return axis.label() + "[" + mesh.groupNumber(world.rank(), Set.of(axis)) + "]";
  }

  /** How many ranks divide each batch. */
  int batchShares() {
    return mesh.size(Axis.DATA) * mesh.size(Axis.EXPERT);
  }

  /** Which of them this rank is. */
  int batchShare() {
    return coordinate(Axis.DATA) * mesh.size(Axis.EXPERT) + coordinate(Axis.EXPERT);
  }

  DeviceMesh mesh() {
    return mesh;
  }

  /** This rank's place along an axis. */
  int coordinate(Axis axis) {
    return mesh.coordinate(world.rank(), axis);
  }

  Communicator world() {
    return world;
  }

  /** The ranks that train the same part of the model on other tokens. */
  Communicator data() {
    return data;
  }

  /** Whether this rank is one of the first ones that have a copy of the model together. */
  boolean isOfFirstCopy() {
    return data.rank() == 0;
  }

  ShardGroups shards() {
    return shards;
  }

  /** The ranks that divide what one rank would otherwise hold; empty where that is one rank. */
  Optional<Communicator> along(Axis axis) {
    return Optional.ofNullable(parallel.get(axis));
  }

  /**
   * Where ranks divide each parameter, and the optimizer looks at whole ones: the ranks that have
   * all of them together, as {@link dev.phalanx.sharding.Division} orders them.
   */
  Optional<Communicator> holders() {
    return Optional.ofNullable(holders);
  }

  /** The ranks that have a copy of the model together; empty where that is one rank. */
  Optional<Communicator> model() {
    return Optional.ofNullable(model);
  }

  /** The place along an axis of a rank of {@link #model}, by its number there. */
  int coordinateInModel(int rankOfModel, Axis axis) {
    return mesh.coordinate(mesh.group(world.rank(), DIVIDING).get(rankOfModel), axis);
  }

  PipelinePlan pipeline() {
    return pipeline;
  }

  /** The groups of the ways between this rank's stages and others. */
  Map<StageChannel, Communicator> channels() {
    return channels;
  }

  /** Whether what this rank finds out of a loss is counted, which several ranks may find alike. */
  boolean countsLosses() {
    int last = pipeline.table().rankOf(pipeline.table().stages() - 1);
    return coordinate(Axis.TENSOR) == 0 && coordinate(Axis.PIPELINE) == last;
  }

  /** By the name that the model's partitions give them. */
  Map<String, Communicator> copies() {
    return copies;
  }

  /** Every group in which this rank sends for the sake of an axis. */
  List<Communicator> ofAxis(Axis axis) {
    List<Communicator> groups = new ArrayList<>();
    own.stream().filter(group -> group.axis() == axis).forEach(group -> groups.add(group.ranks()));
    if (axis == Axis.DATA) {
      groups.add(world);
      groups.addAll(shards.own());
    }
    return groups;
  }

  /** Those of them that do not sum gradients of copies. */
  List<Communicator> ofAxisButCopies(Axis axis) {
    return ofAxis(axis).stream().filter(group -> !copies.containsValue(group)).toList();
  }

  /** The others of them. */
  List<Communicator> copiesOfAxis(Axis axis) {
    return ofAxis(axis).stream().filter(copies::containsValue).toList();
  }

  /** What this rank has sent to others so far. */
  Map<Axis, Traffic> traffic() {
    Map<Axis, Traffic> sent = new EnumMap<>(Axis.class);
    for (Axis axis : COMMUNICATING_AXES) {
      List<Traffic> ofGroups = ofAxis(axis).stream().map(Communicator::traffic).toList();
      sent.put(
          axis,
          new Traffic(
              ofGroups.stream().mapToLong(Traffic::bytesSent).sum(),
              ofGroups.stream().mapToLong(Traffic::messagesSent).sum()));
    }
    return sent;
  }

  @Override
  public void close() {
    shards.close();
    own.forEach(group -> group.ranks().close());
  }
}
