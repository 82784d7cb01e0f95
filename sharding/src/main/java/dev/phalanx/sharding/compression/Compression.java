package dev.phalanx.sharding.compression;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import java.util.List;

/** How gradients are compressed: the settings of a codec, and the codec for one bucket. */
public sealed interface Compression {
  /**
   * The codec for one bucket. All ranks make theirs with equal settings and shapes.
   *
   * @param arena on the CPU; it owns the codec's memory
   * @param communicator of the ranks whose gradients are summed
   * @param parameters the shapes of the bucket's parameters, which make it up without gaps
   */
  CompressedReduction reduction(Arena arena, Communicator communicator, List<Shape> parameters);

  /**
   * Whether a step's gradients are compressed, not summed in full precision as a warm-up does.
   *
   * @param step from 1
   */
  default boolean isCompressedAt(long step) {
    return true;
  }

  /**
   * Whether steps hand on to each other what they left out, so that gradients must be finite and of
   * one scale.
   */
  default boolean hasErrorFeedback() {
    return true;
  }

  /** FLOAT16. See {@link CastReduction}. */
  record Float16() implements Compression {
    @Override
    public boolean hasErrorFeedback() {
      return false;
    }

    @Override
    public CompressedReduction reduction(
        Arena arena, Communicator communicator, List<Shape> parameters) {
      return new CastReduction(arena, communicator, elementCount(parameters), DType.FLOAT16);
    }
  }

  /** BFLOAT16. See {@link CastReduction}. */
  record Bfloat16() implements Compression {
    @Override
    public boolean hasErrorFeedback() {
      return false;
    }

    @Override
    public CompressedReduction reduction(
        Arena arena, Communicator communicator, List<Shape> parameters) {
      return new CastReduction(arena, communicator, elementCount(parameters), DType.BFLOAT16);
    }
  }

  /**
   * Whole numbers from -127 to 127 times a scale. See {@link Int8Codec}.
   *
   * @param block elements that share a scale
   */
  record Int8(int block) implements Compression {
    public Int8 {
      require(block >= 1, "A block of int8 has at least one element", block);
    }

    @Override
    public CompressedReduction reduction(
        Arena arena, Communicator communicator, List<Shape> parameters) {
      long elements = elementCount(parameters);
      return new TwoWayReduction(arena, communicator, elements, new Int8Codec(block, elements));
    }
  }

  /**
   * The largest elements only. See {@link TopKReduction}.
   *
   * @param density the part of the elements that a rank sends
   * @param warmupSteps during which the density falls from a quarter to what is asked for
   * @param momentum of momentum correction, for optimizers of SGD's kind, which then have no
   *     momentum of their own; 0: plain error feedback, for all others
   */
  record TopK(double density, long warmupSteps, double momentum) implements Compression {
    public TopK {
      require(density > 0 && density <= 1, "The density of topk is above 0 and at most 1", density);
      require(warmupSteps >= 0, "A warm-up has no negative number of steps", warmupSteps);
      require(momentum >= 0 && momentum < 1, "Momentum is from 0 to below 1", momentum);
    }

    /** Without a warm-up, with plain error feedback. */
    public TopK(double density) {
      this(density, 0, 0);
    }

    @Override
    public CompressedReduction reduction(
        Arena arena, Communicator communicator, List<Shape> parameters) {
      return new TopKReduction(arena, communicator, elementCount(parameters), this);
    }
  }

  /**
   * The elements beyond a threshold only, as its value with their sign. See {@link
   * ThresholdReduction}.
   *
   * <p>It adapts as {@link AdaptiveThreshold} says where there is a range of densities: then it
   * looks at a whole bucket. A range of one value is a target.
   *
   * @param threshold of one rank's gradients; where it adapts, the one to begin with
   * @param minimumDensity the part of a bucket's elements that a rank sends below which its
   *     threshold falls, above 0; 0: the threshold is fixed
   * @param maximumDensity the part above which it rises, below 1; 0: the threshold is fixed
   */
  record Threshold(double threshold, double minimumDensity, double maximumDensity)
      implements Compression {
    public Threshold {
      require(
          (float) threshold > 0 && (float) threshold < Float.POSITIVE_INFINITY,
          "A threshold is a positive number that fp32 can hold",
          threshold);
      if (minimumDensity != 0 || maximumDensity != 0) {
        require(
            minimumDensity > 0 && minimumDensity < 1,
            "The smallest density of an adaptive threshold is above 0 and below 1",
            minimumDensity);
        require(
            maximumDensity >= minimumDensity && maximumDensity < 1,
            "The largest density of an adaptive threshold is at least the smallest, "
                + minimumDensity
                + ", and below 1",
            maximumDensity);
      }
    }

    /** A fixed one. */
    public Threshold(double threshold) {
      this(threshold, 0, 0);
    }

    /** Whether it follows what is sent. */
    public boolean isAdaptive() {
      return maximumDensity > 0;
    }

    @Override
    public CompressedReduction reduction(
        Arena arena, Communicator communicator, List<Shape> parameters) {
      return new ThresholdReduction(arena, communicator, elementCount(parameters), this);
    }

    /** Checkpoints of networks know a fixed one by this text, from before others were there. */
    @Override
    public String toString() {
      return isAdaptive()
          ? "Threshold[threshold="
              + threshold
              + ", minimumDensity="
              + minimumDensity
              + ", maximumDensity="
              + maximumDensity
              + "]"
          : "Threshold[threshold=" + threshold + "]";
    }
  }

  /**
   * Signs and one scale. See {@link OneBitCodec}.
   *
   * @param warmupSteps in full precision
   * @param momentum above 0: after the warm-up first moments are summed instead of gradients, as
   *     1-bit Adam does; see {@link SummedFirstMoments}. 0: gradients
   */
  record OneBit(long warmupSteps, double momentum) implements Compression {
    public OneBit {
      require(warmupSteps >= 0, "A warm-up has no negative number of steps", warmupSteps);
      require(momentum >= 0 && momentum < 1, "Momentum is from 0 to below 1", momentum);
    }

    /** Of gradients. */
    public OneBit(long warmupSteps) {
      this(warmupSteps, 0);
    }

    @Override
    public boolean isCompressedAt(long step) {
      return step > warmupSteps;
    }

    @Override
    public CompressedReduction reduction(
        Arena arena, Communicator communicator, List<Shape> parameters) {
      long elements = elementCount(parameters);
      CompressedReduction reduction =
          new FullPrecisionWarmUp(
              this,
              new UncompressedReduction(arena, communicator, elements),
              new TwoWayReduction(arena, communicator, elements, new OneBitCodec()));
      return momentum == 0
          ? reduction
          : new SummedFirstMoments(arena, communicator.size(), elements, this, reduction);
    }
  }

  /**
   * A low-rank approximation of each matrix. See {@link PowerSgdReduction}.
   *
   * @param rank of the approximation
   * @param warmupSteps in full precision
   */
  record PowerSgd(int rank, long warmupSteps) implements Compression {
    public PowerSgd {
      require(rank >= 1, "The rank of an approximation is at least 1", rank);
      require(warmupSteps >= 0, "A warm-up has no negative number of steps", warmupSteps);
    }

    @Override
    public boolean isCompressedAt(long step) {
      return step > warmupSteps;
    }

    @Override
    public CompressedReduction reduction(
        Arena arena, Communicator communicator, List<Shape> parameters) {
      return new FullPrecisionWarmUp(
          this,
          new UncompressedReduction(arena, communicator, elementCount(parameters)),
          new PowerSgdReduction(arena, communicator, parameters, rank));
    }
  }

  private static long elementCount(List<Shape> parameters) {
    return parameters.stream().mapToLong(Shape::elementCount).sum();
  }

  private static void require(boolean isRight, String rule, Number found) {
    if (!isRight) {
      throw new IllegalArgumentException(rule + ", not " + found);
    }
  }
}
