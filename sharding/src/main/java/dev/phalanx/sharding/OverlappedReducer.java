package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
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
public final class OverlappedReducer implements GradientListener {
  /** How a bucket is reduced: an all-reduce, or a reduce-scatter that leaves each rank its part. */
  @FunctionalInterface
  interface Reduction {
    DeviceCollectives.Pending start(GradientBucket bucket);
  }

  /** The first bucket is no larger, so that the network has work early. */
  static final long FIRST_BUCKET_BYTES = 1L << 20;

  private final Reduction reduction;
  private final List<GradientBucket> buckets;
  private final Map<Parameter, GradientBucket> bucketOf = new IdentityHashMap<>();
  private final int[] missing;
  private final boolean overlap;
  private final Deque<DeviceCollectives.Pending> underWay = new ArrayDeque<>();
  private int nextBucket;
  private final Waiting waiting;

  /**
   * Sums by all-reduce.
   *
   * @param host an arena on the CPU; it owns copies of gradients where these are on a device that
   *     the communicator cannot read
   * @param bucketBytes about how much one operation reduces
   * @param overlap false: nothing is handed over before {@link #finish}, to measure what overlap
   *     gains
   */
  public OverlappedReducer(
      Arena host,
      Communicator communicator,
      FlatParameters flat,
      long bucketBytes,
      boolean overlap) {
    this(
        GradientBucket.cut(flat, bucketBytes, Math.min(bucketBytes, FIRST_BUCKET_BYTES)),
        overlap,
        allReduce(new DeviceCollectives(host, communicator)),
        new Waiting());
  }

  /**
   * @param buckets in the order in which they are reduced
   */
  OverlappedReducer(
      List<GradientBucket> buckets, boolean overlap, Reduction reduction, Waiting waiting) {
    this.waiting = waiting;
    this.buckets = List.copyOf(buckets);
    this.overlap = overlap;
    this.reduction = reduction;
    this.missing = new int[buckets.size()];
    for (GradientBucket bucket : buckets) {
      bucket.parameters().forEach(parameter -> bucketOf.put(parameter, bucket));
    }
    reset();
  }

  private static Reduction allReduce(DeviceCollectives collectives) {
    return bucket -> collectives.allReduce(bucket.gradients());
  }

  /** Bytes of each bucket, in the order in which they are reduced. */
  public List<Long> bucketBytes() {
    return buckets.stream().map(bucket -> bucket.gradients().byteSize()).toList();
  }

  @Override
  public void gradientComplete(Parameter parameter) {
    GradientBucket bucket = bucketOf.get(parameter);
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
  public void finish() throws InterruptedException {
    while (nextBucket < buckets.size()) {
      launch();
    }
    while (!underWay.isEmpty()) {
      waiting.await(underWay.remove());
    }
    reset();
  }

  /**
   * Time that the training thread has waited for sums since the start: what the overlap did not
   * hide.
   */
  public long exposedNanos() {
    return waiting.nanos();
  }

  private void launch() {
    underWay.add(reduction.start(buckets.get(nextBucket++)));
  }

  private void reset() {
    nextBucket = 0;
    for (GradientBucket bucket : buckets) {
      missing[bucket.index()] = bucket.parameters().size();
    }
  }
}
