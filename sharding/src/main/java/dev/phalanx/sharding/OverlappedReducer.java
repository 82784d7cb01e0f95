package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
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
 * <p>Where the communicator cannot read the memory of the gradients' device, they travel through a
 * copy on the host.
 *
 * <p>Used by the thread that trains.
 */
public final class OverlappedReducer implements GradientListener {
  /**
   * A bucket whose sum is awaited.
   *
   * @param handedOver the bucket's gradients or their copy on the host
   */
  private record Reduction(GradientBucket bucket, Tensor handedOver, Work work) {}

  private final Engine engine;
  private final Communicator communicator;
  private final Device device;
  private final List<Tensor> hostCopies; // one for each bucket; empty where none is needed
  private final List<GradientBucket> buckets;
  private final Map<Parameter, GradientBucket> bucketOf = new IdentityHashMap<>();
  private final int[] missing;
  private final boolean overlap;
  private final Deque<Reduction> underWay = new ArrayDeque<>();
  private int nextBucket;
  private long exposedNanos;

  /**
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
    this.engine = host.engine();
    this.communicator = communicator;
    this.device = flat.gradients().device();
    this.buckets = GradientBucket.cut(flat, bucketBytes, Math.min(bucketBytes, 1L << 20));
    this.overlap = overlap;
    this.missing = new int[buckets.size()];
    this.hostCopies =
        communicator.size() == 1 || communicator.reads(device)
            ? List.of()
            : buckets.stream()
                .map(bucket -> host.allocate(DType.FLOAT32, bucket.gradients().shape()))
                .toList();
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
      Reduction reduction = underWay.remove();
      reduction.work().await();
      if (reduction.handedOver() != reduction.bucket().gradients()) {
        engine.copy(reduction.handedOver(), reduction.bucket().gradients());
      }
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
    if (communicator.size() == 1) {
      return;
    }
    Tensor handedOver = bucket.gradients();
    if (!hostCopies.isEmpty()) {
      handedOver = hostCopies.get(bucket.index());
      engine.copy(bucket.gradients(), handedOver);
    }
    engine.synchronize(device);
    Work work = communicator.allReduce(handedOver, ReduceOperation.SUM);
    underWay.add(new Reduction(bucket, handedOver, work));
  }

  private void reset() {
    nextBucket = 0;
    for (GradientBucket bucket : buckets) {
      missing[bucket.index()] = bucket.parameters().size();
    }
  }
}
