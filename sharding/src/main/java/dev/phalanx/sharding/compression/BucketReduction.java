package dev.phalanx.sharding.compression;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What all codecs have in common: checks, the operation that is under way, and the counting of
 * bytes and time.
 */
abstract class BucketReduction implements CompressedReduction {
  private final Arena arena;
  private final Communicator communicator;
  private final long elementCount;
  private @Nullable Tensor gradients; // between start and finish
  private @Nullable Work underWay;
  private boolean hasProceeded;
  private long uncompressedBytes; // of all ranks, as the next
  private long sentBytes;
  private long codecNanos;
  private long waitedNanos;

  BucketReduction(Arena arena, Communicator communicator, long elementCount) {
    requireHost(arena.device());
    this.arena = arena;
    this.communicator = communicator;
    this.elementCount = elementCount;
  }

  /** Encodes and hands over the first operation. */
  abstract void encode(Tensor gradients, long step);

  /** Of a codec with two operations: waits for the first one and hands over the second one. */
  void handOverSecond() throws InterruptedException {
    // one operation is enough for most
  }

  /** Waits for what was handed over, and decodes. */
  abstract void decode(Tensor gradients) throws InterruptedException;

  /** What error feedback keeps: all that the last step's messages left out. */
  abstract List<Tensor> residuals();

  @Override
  public final void start(Tensor bucket, long step) {
    requireHost(bucket.device());
    if (bucket.dtype() != DType.FLOAT32
        || bucket.elementCount() != elementCount
        || !bucket.isContiguous()) {
      throw new IllegalArgumentException(
          "This bucket's gradients are contiguous, of FLOAT32 and "
              + elementCount
              + " elements, not a "
              + bucket);
    }
    if (gradients != null) {
      throw new IllegalStateException(
          "Step " + step + " was started before the one before it was finished");
    }
    gradients = bucket;
    hasProceeded = false;
    long begin = System.nanoTime();
    uncompressedBytes += 2L * (ranks() - 1) * bucket.byteSize();
    encode(bucket, step);
    codecNanos += System.nanoTime() - begin;
  }

  @Override
  public final void proceed() throws InterruptedException {
    requireStarted();
    if (hasProceeded) {
      return;
    }
    hasProceeded = true;
    long begin = System.nanoTime();
    waitedNanos = 0;
    handOverSecond();
    codecNanos += System.nanoTime() - begin - waitedNanos;
  }

  private Tensor requireStarted() {
    if (gradients == null) {
      throw new IllegalStateException("A step went on or was finished that was not started");
    }
    return gradients;
  }

  @Override
  public final void finish() throws InterruptedException {
    proceed();
    Tensor bucket = requireStarted();
    gradients = null;
    long begin = System.nanoTime();
    waitedNanos = 0;
    decode(bucket);
    codecNanos += System.nanoTime() - begin - waitedNanos;
  }

  @Override
  public final CompressionStatistics statistics() {
    return new CompressionStatistics(
        uncompressedBytes / ranks(), sentBytes / ranks(), codecNanos, errorNorm());
  }

  /** Of what the last step's messages left out. */
  double errorNorm() {
    return Math.sqrt(residuals().stream().mapToDouble(this::squaredNorm).sum());
  }

  final double squaredNorm(Tensor tensor) {
    try (Tensor square = arena.allocate(DType.FLOAT64, 1)) {
      engine().squaredNorm(tensor, square);
      synchronize();
      return square.byteBuffer(0, Double.BYTES).getDouble();
    }
  }

  private static void requireHost(Device device) {
    if (!device.isCpu()) {
      throw new IllegalArgumentException(
          "Gradients are compressed in host memory only, and these are on "
              + device
              + ". Train without compression there.");
    }
  }

  final Engine engine() {
    return arena.engine();
  }

  final long elementCount() {
    return elementCount;
  }

  final int rank() {
    return communicator.rank();
  }

  final int ranks() {
    return communicator.size();
  }

  /** Before the host or the communicator reads what kernels have written. */
  final void synchronize() {
    engine().synchronize(Device.CPU);
  }

  /** Hands a sum over all ranks over. */
  final void allReduce(Tensor tensor) {
    handOver(communicator.allReduce(tensor, ReduceOperation.SUM), 2 * tensor.byteSize());
  }

  /** Hands {@link Communicator#allToAll(Tensor, Tensor)} over. */
  final void allToAll(Tensor input, Tensor output) {
    handOver(communicator.allToAll(input, output), input.byteSize());
  }

  /** Hands {@link Communicator#allGather(Tensor, Tensor)} over. */
  final void allGather(Tensor input, Tensor output) {
    handOver(communicator.allGather(input, output), output.byteSize());
  }

  /** Hands {@link Communicator#allGather(Tensor, Tensor, long[])} over. */
  final void allGather(Tensor input, Tensor output, long[] counts) {
    handOver(communicator.allGather(input, output, counts), output.byteSize());
  }

  private void handOver(Work work, long bytes) {
    sentBytes += (ranks() - 1) * bytes;
    underWay = work;
  }

  /** Waits for the operation that was handed over last. */
  final void await() throws InterruptedException {
    Work work = underWay;
    if (work != null) {
      long begin = System.nanoTime();
      work.await();
      waitedNanos += System.nanoTime() - begin;
      underWay = null;
    }
  }
}
