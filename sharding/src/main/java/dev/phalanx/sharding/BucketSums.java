package dev.phalanx.sharding;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.sharding.compression.CompressedReduction;
import dev.phalanx.sharding.compression.Compression;
import dev.phalanx.sharding.compression.CompressionStatistics;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;

/**
 * All-reduces of buckets among ranks that hold the same elements: as they are, or compressed, with
 * a codec for each bucket that keeps what one step hands on to the next. Every rank starts the
 * buckets in the same order and awaits them in that order.
 */
public final class BucketSums {
  private final Engine engine;
  private final Arena host;
  private final DeviceCollectives collectives;
  private final Optional<Compression> compression;
  private final Map<Integer, Codec> codecs = new LinkedHashMap<>(); // by bucket
  private long step;

  /**
   * @param elementCount of the bucket, without padding
   */
  private record Codec(CompressedReduction reduction, long elementCount) {}

  /**
   * @param host an arena on the CPU; it owns what codecs keep
   * @param group the ranks that hold the same elements
   * @param wanted how sums are compressed; a group of one rank compresses nothing
   * @param shapes of what makes up each bucket, padding left out; a bucket of none is not summed
   */
  public BucketSums(
      Arena host, Communicator group, Optional<Compression> wanted, List<List<Shape>> shapes) {
    this.host = host;
    this.engine = host.engine();
    this.collectives = new DeviceCollectives(host, group);
    this.compression = group.size() == 1 ? Optional.empty() : wanted;
    for (int bucket = 0; compression.isPresent() && bucket < shapes.size(); bucket++) {
      List<Shape> inBucket = shapes.get(bucket);
      if (!inBucket.isEmpty()) {
        codecs.put(
            bucket,
            new Codec(
                compression.get().reduction(host, group, inBucket),
                inBucket.stream().mapToLong(Shape::elementCount).sum()));
      }
    }
  }

  /** How sums are compressed; empty where nothing is, because there is one rank. */
  public Optional<Compression> compression() {
    return compression;
  }

  /**
   * @param newStep from 1, the same on all ranks
   */
  public void beginStep(long newStep) {
    step = newStep;
  }

  /**
   * Sums over the ranks, in place.
   *
   * @param gradients a bucket, or this rank's part of it, padding among it
   * @throws NotFiniteGradientException where this rank's gradients would stay in the residuals
   */
  public DeviceCollectives.Pending allReduce(int bucket, Tensor gradients) {
    if (compression.isEmpty()) {
      return collectives.allReduce(gradients);
    }
    Codec codec = codecs.get(bucket);
    return codec == null
        ? DeviceCollectives.DONE
        : start(codec, gradients.slice(0, 0, codec.elementCount()));
  }

  /**
   * Sums all buckets over the ranks, in place.
   *
   * @param gradients of every bucket
   */
  public DeviceCollectives.Pending allReduce(List<Tensor> gradients) {
    List<DeviceCollectives.Pending> sums = new ArrayList<>();
    for (int bucket = 0; bucket < gradients.size(); bucket++) {
      sums.add(allReduce(bucket, gradients.get(bucket)));
    }
    return new DeviceCollectives.Pending() {
      @Override
      public void await() throws InterruptedException {
        for (DeviceCollectives.Pending sum : sums) {
          sum.proceed();
        }
        for (DeviceCollectives.Pending sum : sums) {
          sum.await();
        }
      }

      @Override
      public boolean isDone() {
        return sums.stream().allMatch(DeviceCollectives.Pending::isDone);
      }
    };
  }

  private DeviceCollectives.Pending start(Codec codec, Tensor gradients) {
    boolean isOnHost = gradients.device().isCpu();
    Tensor onHost = isOnHost ? gradients : collectives.copy(gradients);
    requireFinite(onHost);
    codec.reduction().start(onHost, step);
    return new DeviceCollectives.Pending() {
      @Override
      public void proceed() throws InterruptedException {
        codec.reduction().proceed();
      }

      @Override
      public void await() throws InterruptedException {
        codec.reduction().finish();
        if (!isOnHost) {
          engine.copy(onHost, gradients);
          engine.synchronize(gradients.device());
          onHost.close();
        }
        gradients.close(); // a view of memory that lives as long as the job
      }

      /** Decoding is work of its own. */
      @Override
      public boolean isDone() {
        return false;
      }
    };
  }

  private void requireFinite(Tensor gradients) {
    if (compression.isEmpty() || !compression.get().hasErrorFeedback()) {
      return; // what is not finite reaches every rank's sum
    }
    try (Tensor squaredNorm = host.allocate(DType.FLOAT64, 1)) {
      engine.squaredNorm(gradients, squaredNorm);
      engine.synchronize(host.device());
      double squared = squaredNorm.byteBuffer(0, Double.BYTES).getDouble();
      if (!Double.isFinite(squared)) {
        throw new NotFiniteGradientException(
            "this rank's gradients have norm " + Math.sqrt(squared));
      }
    }
  }

  /** What checkpoints hold of this rank alone, by name. */
  public Map<String, Tensor> state() {
    return named(CompressedReduction::state);
  }

  /** What checkpoints hold and is the same on all ranks of the group, by name. */
  public Map<String, Tensor> commonState() {
    return named(CompressedReduction::commonState);
  }

  private Map<String, Tensor> named(Function<CompressedReduction, Map<String, Tensor>> states) {
    Map<String, Tensor> named = new LinkedHashMap<>();
    codecs.forEach(
        (bucket, codec) ->
            states
                .apply(codec.reduction())
                .forEach((name, tensor) -> named.put("bucket-" + bucket + "." + name, tensor)));
    return named;
  }

  /** Of all buckets; none where nothing is compressed. */
  public Optional<CompressionStatistics> statistics() {
    return codecs.values().stream()
        .map(codec -> codec.reduction().statistics())
        .reduce(CompressionStatistics::plus);
  }
}
