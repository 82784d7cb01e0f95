package dev.phalanx.collectives;

import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Tensor;

/**
 * The ranks of one process group, seen from one of them.
 *
 * <p>Every rank of the group calls the same operations in the same order with tensors of the same
 * type and number of elements. Calls return at once; operations run one after the other in the
 * order of the calls, on the communicator's own thread or on one that waits for them. A tensor
 * handed over must be contiguous, on a device that the communicator {@link #reads}, complete (see
 * {@code Engine.synchronize}), and left alone until its {@link Work} is done. After a failure every
 * further call fails with the same cause; none blocks for ever.
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
   * Reduces {@code input} over all ranks and leaves each with its part.
   *
   * @param input [size * n]; its content is undefined afterwards
   * @param output [n]: part number {@link #rank}; may be that very slice of {@code input}
   */
  Work reduceScatter(Tensor input, Tensor output, ReduceOperation operation);

  /**
   * Every rank gets the parts of all, in the order of ranks.
   *
   * @param input [n]; may be this rank's own slice of {@code output}
   * @param output [size * n]
   */
  Work allGather(Tensor input, Tensor output);

  /** Every rank gets the tensor of {@code root}, in place. */
  Work broadcast(Tensor tensor, int root);

  /** Is done when every rank has called it. */
  Work barrier();

  /** What this rank has sent so far. */
  Traffic traffic();

  /** Ends the group for this rank. Operations under way fail on the peers with this rank's name. */
  @Override
  void close();
}
