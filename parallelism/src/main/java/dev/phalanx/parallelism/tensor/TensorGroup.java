package dev.phalanx.parallelism.tensor;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Partition;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The ranks that divide each matrix of a model among them, seen from one of them.
 *
 * <p>With sequence parallelism what lies between the divided layers is divided too: of [n, d]
 * values for n tokens each rank has n / size rows, the first rank the first ones. Without it every
 * rank has all of them.
 *
 * <p>Used by the thread that trains.
 */
public final class TensorGroup {
  /** What {@link Partition.Copies} call the ranks of this group. */
  public static final String COPIES = "tensor";

  /** What they call those ranks of it that hold the same key and value heads. */
  public static final String KEY_VALUE_COPIES = "key_value";

  private final @Nullable DeviceCollectives collectives; // null: nobody to talk to
  private final int rank;
  private final int size;
  private final boolean isSequenceParallel;
  private final Replicas replicas;
  private final Waiting waiting = new Waiting();

  private TensorGroup(
      @Nullable DeviceCollectives collectives,
      int rank,
      int size,
      boolean isSequenceParallel,
      Replicas replicas) {
    this.collectives = collectives;
    this.rank = rank;
    this.size = size;
    this.isSequenceParallel = isSequenceParallel && size > 1;
    this.replicas = replicas;
  }

  /** One rank, which has everything. */
  public static TensorGroup single() {
    return new TensorGroup(null, 0, 1, false, Replicas.NONE);
  }

  /**
   * @param host an arena on the CPU, for copies where the communicator cannot read the device
   */
  public static TensorGroup of(Communicator ranks, Arena host, boolean isSequenceParallel) {
    return new TensorGroup(
        new DeviceCollectives(host, ranks),
        ranks.rank(),
        ranks.size(),
        isSequenceParallel,
        Replicas.NONE);
  }

  /** What another rank's share of everything is; it talks to nobody. */
  public TensorGroup as(int otherRank) {
    return new TensorGroup(null, otherRank, size, isSequenceParallel, replicas);
  }

  /** The same ranks, whose parameters those of other groups hold too. */
  public TensorGroup with(Replicas others) {
    return new TensorGroup(collectives, rank, size, isSequenceParallel, others);
  }

  public int rank() {
    return rank;
  }

  public int size() {
    return size;
  }

  /** Whether nothing is divided. */
  public boolean isSingle() {
    return size == 1;
  }

  public boolean isSequenceParallel() {
    return isSequenceParallel;
  }

  /** Time that the training thread has waited for this group's ranks. */
  public long exposedNanos() {
    return waiting.nanos();
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
            : Partition.copied(shape, new Partition.Copies(COPIES, rank, isPartial, false)));
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
    long least = count / size;
    long larger = count % size;
    return new Share(rank * least + Math.min(rank, larger), least + (rank < larger ? 1 : 0));
  }

  /** Of all rows of values between the layers, those that are here. */
  public Share rows(long tokens) {
    return isSequenceParallel ? share(tokens) : new Share(0, tokens);
  }

  /** Some of a number of things that are in order. */
  public record Share(long first, long count) {}

  // ---------------------------------------------------------------------------------- collectives

  private DeviceCollectives ranks() {
    if (collectives == null) {
      throw new IllegalStateException(
          "Rank "
              + rank
              + " of "
              + size
              + " is not this one, or alone: there is nobody to talk to");
    }
    return collectives;
  }

  void await(DeviceCollectives.Pending pending) {
    waiting.awaitInPass(pending::await);
  }

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
    return isSequenceParallel ? Shape.of(here.size(0) * size, here.size(1)) : here;
  }

  /** The shape of the rows that are here, for the shape of all. */
  Shape ownRows(Shape all) {
    return isSequenceParallel ? Shape.of(all.size(0) / size, all.size(1)) : all;
  }
}
