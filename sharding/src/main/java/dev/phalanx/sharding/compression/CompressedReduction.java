package dev.phalanx.sharding.compression;

import dev.phalanx.tensor.Tensor;
import java.util.Map;

/**
 * Sums one bucket's gradients over the ranks of a group with fewer bytes than their own. There is
 * one object for each bucket, made by {@link Compression#reduction}; it holds what the bucket's
 * steps hand on to each other.
 *
 * <p>A step is a {@link #start}, a {@link #proceed} and a {@link #finish}, and those of several
 * buckets may overlap. Each of the first two may hand an operation to the group's communicator, so
 * all ranks call them in the same order:
 *
 * <pre>
 *   start 0, start 1, start 2, proceed 0, start 3, proceed 1, proceed 2, proceed 3, finish 0, ...
 * </pre>
 *
 * <p>A codec of two operations has the second one under way from {@code proceed} on; the later that
 * is, the surer is the first one there, and the earlier, the more is hidden.
 *
 * <p>Gradients are finite numbers: codecs do not look for others, and one that is none may stay in
 * the residual for ever.
 *
 * <p>Thread: the one that calls the communicator's operations and the engine's kernels.
 */
public interface CompressedReduction {
  /**
   * Encodes the gradients and hands the first operation over, without waiting for it.
   *
   * @param gradients [elements of the bucket] FLOAT32, contiguous, in host memory; they belong to
   *     this object until {@link #finish} returns, and what they hold meanwhile is undefined
   * @param step from 1, the same on all ranks
   */
  void start(Tensor gradients, long step);

  /**
   * Waits for what {@link #start} has handed over and hands over what follows from it, where a
   * codec has a second operation; others do nothing.
   *
   * @throws dev.phalanx.collectives.CollectiveException as {@link #finish}
   */
  void proceed() throws InterruptedException;

  /**
   * Waits, and leaves in the gradients about the sum over the ranks, with the same bits on every
   * rank.
   *
   * @throws dev.phalanx.collectives.CollectiveException where a rank is lost or disagrees; the
   *     object is then of no further use
   */
  void finish() throws InterruptedException;

  /**
   * What a checkpoint must hold of every rank, by name: whoever copies it and {@link #commonState}
   * into a new object of the same settings, shapes, rank and number of ranks goes on with the same
   * bits. The tensors are this object's own memory, to be read and written between {@link #finish}
   * and {@link #start}.
   */
  Map<String, Tensor> state();

  /**
   * What is the same on every rank, by names that are not in {@link #state}. It fits any number of
   * ranks.
   */
  default Map<String, Tensor> commonState() {
    return Map.of();
  }

  /** Since this object was made. Reads the residuals: not between start and finish. */
  CompressionStatistics statistics();
}
