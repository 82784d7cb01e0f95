package dev.phalanx.parallelism.tensor;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.parallelism.mesh.RankGroup;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Partition;
import java.util.List;

/**
 * The ranks that divide each matrix of a model among them, seen from one of them.
 *
 * <p>With sequence parallelism what lies between the divided layers is divided too: of [n, d]
 * values for n tokens each rank has n / size rows, the first rank the first ones. Without it every
 * rank has all of them.
 *
 * <p>Used by the thread that trains.
 */
public final class TensorGroup extends RankGroup {
  /** What {@link Partition.Copies} call the ranks of this group. */
  public static final String COPIES = "tensor";

  /** What they call those ranks of it that hold the same key and value heads. */
  public static final String KEY_VALUE_COPIES = "key_value";

  private final boolean isSequenceParallel;
  private final Replicas replicas;

  private TensorGroup(Seat seat, boolean isSequenceParallel, Replicas replicas) {
    super(seat);
    this.isSequenceParallel = isSequenceParallel && seat.size() > 1;
    this.replicas = replicas;
  }

  /** One rank, which has everything. */
  public static TensorGroup single() {
    return new TensorGroup(Seat.ALONE, false, Replicas.NONE);
  }

  /**
   * @param host an arena on the CPU, for copies where the communicator cannot read the device
   */
  public static TensorGroup of(Communicator ranks, Arena host, boolean isSequenceParallel) {
    return new TensorGroup(Seat.of(ranks, host), isSequenceParallel, Replicas.NONE);
  }

  /** What another rank's share of everything is; it talks to nobody. */
  public TensorGroup as(int otherRank) {
    return new TensorGroup(seat().as(otherRank), isSequenceParallel, replicas);
  }

  /** The same ranks, whose parameters those of other groups hold too. */
  public TensorGroup with(Replicas others) {
    return new TensorGroup(seat(), isSequenceParallel, others);
  }

  public boolean isSequenceParallel() {
    return isSequenceParallel;
  }

  /** A parameter of which each rank has a copy: a norm's, a bias of a whole result. */
  public Partition copied(Shape shape) {
    return copied(shape, isSequenceParallel);
  }

  /** A parameter of which each rank has a copy, and a part of the gradient. */
  public Partition copiedInParts(Shape shape) {
    return copied(shape, true);
  }

  private Partition copied(Shape shape, boolean isPartial) {
    return replicated(
        isSingle()
            ? Partition.whole(shape)
            : Partition.copied(shape, new Partition.Copies(COPIES, rank(), isPartial, false)));
  }

  /**
   * A parameter that ranks divide.
   *
   * @param blocks that this rank has, where it does not have all
   */
  Partition part(Shape whole, List<Partition.Block> blocks) {
    return replicated(isSingle() ? Partition.whole(whole) : new Partition(whole, blocks, 0));
  }

  /**
   * A parameter that this rank has a part of, which {@link Replicas} hold too: any but those of
   * experts.
   */
  Partition replicated(Partition own) {
    return replicas.of(own);
  }

  /** This rank's share of something that is counted, as even as can be. */
  public Share share(long count) {
    long least = count / size();
    long larger = count % size();
    return new Share(rank() * least + Math.min(rank(), larger), least + (rank() < larger ? 1 : 0));
  }

  /** Of all rows of values between the layers, those that are here. */
  public Share rows(long tokens) {
    return isSequenceParallel ? share(tokens) : new Share(0, tokens);
  }

  /** Some of a number of things that are in order. */
  public record Share(long first, long count) {}

  // ---------------------------------------------------------------------------------- collectives

  /** Adds up over the ranks, in place. */
  DeviceCollectives.Pending startSum(Tensor values) {
    return ranks().allReduce(values);
  }

  void sum(Tensor values) {
    await(startSum(values));
  }

  /** The largest of all ranks, in place. */
  void maximum(Tensor values) {
    await(ranks().allReduce(values, ReduceOperation.MAXIMUM));
  }

  /** All rows, from the rows that are here. */
  DeviceCollectives.Pending startGather(Tensor rows, Tensor all) {
    return ranks().allGather(rows, all);
  }

  /** Adds up over the ranks and leaves the rows that belong here; {@code all} is undefined then. */
  DeviceCollectives.Pending startSumRows(Tensor all, Tensor rows) {
    return ranks().reduceScatter(all, rows);
  }

  /** The shape of all rows, for the shape of those that are here. */
  Shape allRows(Shape here) {
    return isSequenceParallel ? Shape.of(here.size(0) * size(), here.size(1)) : here;
  }

  /** The shape of the rows that are here, for the shape of all. */
  Shape ownRows(Shape all) {
    return isSequenceParallel ? Shape.of(all.size(0) / size(), all.size(1)) : all;
  }
}
