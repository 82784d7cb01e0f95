package dev.phalanx.sharding;

import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

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

  private final Reduction reduction;
  private final List<ShardLayout.Bucket> buckets;
  private final Map<Parameter, ShardLayout.Bucket> bucketOf = new IdentityHashMap<>();
  private final int[] missing;
  private final boolean overlap;
  private final Deque<DeviceCollectives.Pending> underWay = new ArrayDeque<>();
  private final Waiting waiting;
  private int nextBucket;

  /**
   * @param buckets in the order in which they are reduced
   * @param overlap false: nothing is handed over before {@link #finish}, to measure what overlap
   *     gains
   */
  OverlappedReducer(
      List<ShardLayout.Bucket> buckets, boolean overlap, Reduction reduction, Waiting waiting) {
    this.waiting = waiting;
    this.buckets = List.copyOf(buckets);
    this.overlap = overlap;
    this.reduction = reduction;
    this.missing = new int[buckets.size()];
    for (ShardLayout.Bucket bucket : buckets) {
      bucket.parameters().forEach(parameter -> bucketOf.put(parameter, bucket));
    }
    reset();
  }

  @Override
  public void gradientComplete(Parameter parameter) {
    ShardLayout.Bucket bucket = bucketOf.get(parameter);
    if (bucket == null) {
      throw new IllegalArgumentException("Parameter " + parameter + " is in no bucket");
    }
    missing[bucket.index()]--;
    while (overlap && nextBucket < buckets.size() && missing[nextBucket] == 0) {
      launch();
    }
  }

  /**
   * Hands over what is left and waits until the sums of all buckets are there.
   *
   * @throws dev.phalanx.collectives.CollectiveException where a rank is lost or disagrees
   */
  void finish() throws InterruptedException {
    while (nextBucket < buckets.size()) {
      launch();
    }
    while (!underWay.isEmpty()) {
      waiting.await(underWay.remove());
    }
    reset();
  }

  private void launch() {
    underWay.add(reduction.start(buckets.get(nextBucket++)));
  }

  private void reset() {
    nextBucket = 0;
    for (ShardLayout.Bucket bucket : buckets) {
      missing[bucket.index()] = bucket.parameters().size();
    }
  }
}
