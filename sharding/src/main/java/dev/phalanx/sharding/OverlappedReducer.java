package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.autograd.GradientListener;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * Sums gradients over the data-parallel ranks while the backward pass goes on (Li et al., 2020,
 * "PyTorch Distributed").
 *
 * <p>It listens to the backward pass of a step's last micro-batch. When the last gradient of a
 * bucket is complete, the bucket's all-reduce is handed to the communication thread. Buckets are
 * handed over in the order of their numbers on every rank, whatever order they complete in, for a
 * communicator's operations must not differ between ranks.
 *
 * <p>Used by the thread that trains.
 */
public final class OverlappedReducer implements GradientListener {
  private final Engine engine;
  private final Communicator communicator;
  private final List<GradientBucket> buckets;
  private final Map<Parameter, GradientBucket> bucketOf = new IdentityHashMap<>();
  private final int[] missing;
  private final boolean overlap;
  private final Deque<Work> underWay = new ArrayDeque<>();
  private int nextBucket;
  private long exposedNanos;

  /**
   * @param bucketBytes about how much one operation reduces
   * @param overlap false: nothing is handed over before {@link #finish}, to measure what overlap
   *     gains
   */
  public OverlappedReducer(
      Engine engine,
      Communicator communicator,
      FlatParameters flat,
      long bucketBytes,
      boolean overlap) {
    this.engine = engine;
    this.communicator = communicator;
    this.buckets = GradientBucket.cut(flat, bucketBytes, Math.min(bucketBytes, 1L << 20));
    this.overlap = overlap;
    this.missing = new int[buckets.size()];
    for (GradientBucket bucket : buckets) {
      bucket.parameters().forEach(parameter -> bucketOf.put(parameter, bucket));
    }
    reset();
  }

  /** Bytes of each bucket, in the order in which they are reduced. */
  public List<Long> bucketBytes() {
    List<Long> bytes = new ArrayList<>();
    buckets.forEach(bucket -> bytes.add(bucket.gradients().byteSize()));
    return bytes;
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
    long start = System.nanoTime();
    while (!underWay.isEmpty()) {
      underWay.remove().await();
    }
    exposedNanos += System.nanoTime() - start;
    reset();
  }

  /**
   * Time that the training thread has waited for sums since the start: what the overlap did not
   * hide.
   */
  public long exposedNanos() {
    return exposedNanos;
  }

  private void launch() {
    GradientBucket bucket = buckets.get(nextBucket++);
    if (communicator.size() > 1) {
      engine.synchronize(bucket.gradients().device());
      underWay.add(communicator.allReduce(bucket.gradients(), ReduceOperation.SUM));
    }
  }

  private void reset() {
    nextBucket = 0;
    for (GradientBucket bucket : buckets) {
      missing[bucket.index()] = bucket.parameters().size();
    }
  }
}
