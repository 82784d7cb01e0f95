package dev.phalanx.sharding;

import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Sums gradients over the data-parallel ranks while the backward pass goes on (Li et al., 2020,
 * "PyTorch Distributed").
 *
 * <p>It listens to the backward pass of a step's last micro-batch. When the last gradient of a
 * bucket is complete, the bucket's reduction is handed to the communication thread. Buckets are
 * handed over in the order of their numbers on every rank, whatever order they complete in, for a
 * communicator's operations must not differ between ranks.
 *
 * <p>Used by the thread that trains.
 */
final class OverlappedReducer implements GradientListener {
  /** How a bucket is reduced: an all-reduce, or a reduce-scatter that leaves each rank its part. */
  @FunctionalInterface
  interface Reduction {
    DeviceCollectives.Pending start(ShardLayout.Bucket bucket);
  }

  /**
   * So many buckets later a bucket's first operation should be over, and its second one begins if
   * it has one. When exactly must not differ between ranks, so it is not asked whether it is over.
   */
  private static final int BUCKETS_IN_FIRST_OPERATION = 2;

  private final Reduction reduction;
  private final CompleteBuckets complete;
  private final boolean overlap;
  private final Deque<DeviceCollectives.Pending> underWay = new ArrayDeque<>();
  private final Deque<DeviceCollectives.Pending> inFirstOperation = new ArrayDeque<>();
  private final Waiting waiting;

  /**
   * @param overlap false: nothing is handed over before {@link #finish}, to measure what overlap
   *     gains
   */
  OverlappedReducer(ShardLayout layout, boolean overlap, Reduction reduction, Waiting waiting) {
    this.waiting = waiting;
    this.overlap = overlap;
    this.reduction = reduction;
    this.complete = new CompleteBuckets(layout, this::launch);
  }

  @Override
  public void gradientComplete(Parameter parameter) {
    if (overlap) {
      complete.add(parameter);
    }
  }

  /**
   * Hands over what is left and waits until the sums of all buckets are there.
   *
   * @throws dev.phalanx.collectives.CollectiveException where a rank is lost or disagrees
   */
  void finish() throws InterruptedException {
    complete.passOnRest();
    while (!inFirstOperation.isEmpty()) {
      waiting.await(inFirstOperation.remove()::proceed);
    }
    while (!underWay.isEmpty()) {
      waiting.await(underWay.remove()::await);
    }
    complete.begin(bucket -> true);
  }

  private void launch(ShardLayout.Bucket bucket) {
    DeviceCollectives.Pending started = reduction.start(bucket);
    underWay.add(started);
    inFirstOperation.add(started);
    if (inFirstOperation.size() > BUCKETS_IN_FIRST_OPERATION) {
      waiting.awaitInPass(inFirstOperation.remove()::proceed);
    }
  }
}
