package dev.phalanx.collectives;

import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The ranks of one process group, seen from one of them.
 *
 * <p>Every rank of the group calls the same operations in the same order with tensors of the same
 * type and number of elements; only {@link #send}, {@link #receive} and {@link #exchange} concern
 * the two ranks between which something moves. Calls return at once; operations run one after the
 * other in the order of the calls, on the communicator's own thread or on one that waits for them.
 * A tensor handed over must be contiguous, on a device that the communicator {@link #reads},
 * complete (see {@code Engine.synchronize}), and left alone until its {@link Work} is done. After a
 * failure every further call fails with the same cause; none blocks for ever.
 *
 * <p>Thread: one thread calls the operations; {@link Work} may be awaited anywhere.
 */
public interface Communicator extends AutoCloseable {
  /** This rank's number in the group, from 0. */
  int rank();

  /** The number of ranks in the group. */
  int size();

  /** The group's name in messages, such as {@code data[0]}. */
  String name();

  /** What moves the bytes, as plan files call it. */
  String transport();

  /**
   * Whether tensors of this device may be handed over. Host memory always may; tensors of another
   * device travel through a copy on the host where the answer is no.
   */
  boolean reads(Device device);

  /**
   * Each element becomes {@code operation} over all ranks, in place, with the same bits on every
   * rank.
   */
  Work allReduce(Tensor tensor, ReduceOperation operation);

  /**
   * Each element becomes {@code operation} over all ranks, in place on {@code root}; the others'
   * tensors are left as they are.
   */
  Work reduce(Tensor tensor, ReduceOperation operation, int root);

  /**
   * Reduces {@code input} over all ranks and leaves each with its part.
   *
   * @param input [size * n]; its content is undefined afterwards
   * @param output [n]: part number {@link #rank}; that very slice of {@code input}, or other memory
   */
  Work reduceScatter(Tensor input, Tensor output, ReduceOperation operation);

  /**
   * Every rank gets the parts of all, in the order of ranks.
   *
   * @param input [n]; may be this rank's own slice of {@code output}
   * @param output [size * n]
   */
  Work allGather(Tensor input, Tensor output);

  /**
   * {@link #allGather(Tensor, Tensor)} of parts of different lengths.
   *
   * @param input [counts[rank]]; may be this rank's own slice of {@code output}
   * @param output [sum of counts]
   * @param counts elements of each rank's part, the same on all ranks
   */
  Work allGather(Tensor input, Tensor output, long[] counts);

  /**
   * {@code root} gets the parts of all, in the order of ranks.
   *
   * @param input [n]; may be the root's own slice of {@code output}
   * @param output [size * n] on the root; null on the others
   */
  Work gather(Tensor input, @Nullable Tensor output, int root);

  /**
   * Every rank gets its part of what {@code root} has.
   *
   * @param input [size * n] on the root; null on the others
   * @param output [n]; may be the root's own slice of {@code input}
   */
  Work scatter(@Nullable Tensor input, Tensor output, int root);

  /** Every rank gets the tensor of {@code root}, in place. */
  Work broadcast(Tensor tensor, int root);

  /**
   * Part j of rank i's input becomes part i of rank j's output.
   *
   * @param input [size * n]
   * @param output [size * n], other memory than {@code input}
   */
  Work allToAll(Tensor input, Tensor output);

  /**
   * {@link #allToAll(Tensor, Tensor)} of parts of different lengths.
   *
   * @param inputCounts elements for each rank, in order; they make up {@code input}
   * @param outputCounts elements from each rank, in order; they make up {@code output}
   */
  Work allToAll(Tensor input, long[] inputCounts, Tensor output, long[] outputCounts);

  /**
   * Sends a tensor to one rank, which calls {@link #receive} with the same tag and as many elements
   * of the same type. It is done when the tensor may be changed, which does not tell that the peer
   * has it.
   *
   * @param tag from 0; tells messages between two ranks apart, those of one tag keep their order
   */
  Work send(Tensor tensor, int peer, int tag);

  /** Receives what {@code peer} sends with this tag. */
  Work receive(Tensor tensor, int peer, int tag);

  /** Does several sends and receives at once, in whatever order the peers do theirs. */
  Work exchange(List<PointToPoint> transfers);

  /** Is done when every rank has called it. */
  Work barrier();

  /**
   * Memory that all ranks of the group can read: operations on tensors in it need not copy them
   * first. All ranks call it together, with the same number of bytes, while no operation is under
   * way; it blocks until all have. The memory stays until the communicator is closed.
   *
   * @param wrap makes the block of a direct buffer, {@code Engine::wrap} as a rule
   * @return empty where the ranks have no memory in common, or not as much; all ranks get the same
   *     answer
   * @throws CollectiveException where a rank is lost meanwhile, or the communicator is closed; on
   *     all ranks where they have memory in common and want different numbers of bytes
   */
  Optional<Storage> allocateShared(long bytes, Function<ByteBuffer, Storage> wrap)
      throws InterruptedException;

  /** What this rank has sent so far. */
  Traffic traffic();

  /** Ends the group for this rank. Operations under way fail on the peers with this rank's name. */
  @Override
  void close();
}
