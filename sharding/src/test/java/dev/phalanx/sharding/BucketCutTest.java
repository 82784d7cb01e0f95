package dev.phalanx.sharding;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.LongRange;

final class BucketCutTest {
  private static final long MEBIBYTE = 1 << 20;

  @Provide
  Arbitrary<List<Shape>> models() {
    return ModelShapes.arbitrary();
  }

  private static List<Parameter> parameters(List<Shape> shapes) {
    List<Parameter> parameters = new ArrayList<>();
    for (Shape shape : shapes) {
      parameters.add(new Parameter("p" + parameters.size(), shape, (seed, element) -> 0));
    }
    return parameters;
  }

  /**
   * Buckets follow each other; parts of all ranks are equal, and padding is less than a rank each.
   */
  @Property(tries = 200)
  void bucketsCoverFlatMemoryOnceInOrder(
      @ForAll("models") List<Shape> shapes,
      @ForAll @LongRange(min = 1, max = 10_000) long bucketBytes,
      @ForAll @IntRange(min = 1, max = 9) int shards) {
    List<Parameter> parameters = parameters(shapes);
    ShardLayout layout = ShardLayout.ofOnePart(ShardLayout.cut(parameters, bucketBytes), shards);

    long end = 0;
    for (ShardLayout.Bucket bucket : layout.buckets()) {
      assertThat(bucket.index()).isEqualTo(layout.buckets().indexOf(bucket));
      assertThat(bucket.offset()).isEqualTo(end);
      assertThat(bucket.count()).isEqualTo(ShardLayout.elementCount(bucket.parameters()));
      assertThat(bucket.paddedCount() - bucket.count()).isBetween(0L, shards - 1L);
      assertThat(bucket.paddedCount() % shards).isZero();
      end += bucket.paddedCount();
    }
    assertThat(layout.paddedCount()).isEqualTo(end);
    assertThat(layout.parameters()).containsExactlyElementsOf(parameters);
  }

  @Property(tries = 200)
  void aBucketEndsWithTheParameterThatFillsIt(
      @ForAll("models") List<Shape> shapes,
      @ForAll @LongRange(min = 1, max = 10_000) long bucketBytes) {
    List<List<Parameter>> buckets = ShardLayout.cut(parameters(shapes), bucketBytes);

    for (List<Parameter> bucket : buckets) {
      List<Parameter> allButLast = bucket.subList(0, bucket.size() - 1);
      assertThat(Float.BYTES * ShardLayout.elementCount(allButLast)).isLessThan(bucketBytes);
    }
    for (List<Parameter> bucket : buckets.subList(0, buckets.size() - 1)) {
      assertThat(Float.BYTES * ShardLayout.elementCount(bucket))
          .isGreaterThanOrEqualTo(bucketBytes);
    }
  }

  @Example
  void aParameterLargerThanABucketIsNotCut() {
    List<Shape> shapes = List.of(Shape.of(2), Shape.of(2), Shape.of(1000), Shape.of(2));

    assertThat(ShardLayout.cut(parameters(shapes), 16))
        .extracting(ShardLayout::elementCount)
        .containsExactly(4L, 1000L, 2L);
  }

  @Example
  void aSmallModelHasSeveralBucketsTooButNoneBelowAMebibyte() {
    Shape quarter = Shape.of(MEBIBYTE / 4 / Float.BYTES);

    assertThat(ShardLayout.cut(parameters(Collections.nCopies(16, quarter)), 25 * MEBIBYTE))
        .hasSize(4);
    assertThat(ShardLayout.cut(parameters(Collections.nCopies(80, quarter)), 25 * MEBIBYTE))
        .hasSize(11) // the first is smaller
        .last()
        .satisfies(last -> assertThat(last).hasSize(4));
    assertThat(ShardLayout.cut(parameters(Collections.nCopies(80, quarter)), MEBIBYTE)).hasSize(20);
  }

  /** So that the network has work soon, and does not run out of it. */
  @Example
  void theFirstOfLargeBucketsHoldsAboutAMebibyteAndTheNextOnesGrow() {
    Shape half = Shape.of(MEBIBYTE / 2 / Float.BYTES);

    assertThat(ShardLayout.cut(parameters(Collections.nCopies(42, half)), 2 * MEBIBYTE))
        .extracting(bucket -> Float.BYTES * ShardLayout.elementCount(bucket))
        .startsWith(MEBIBYTE, 2 * MEBIBYTE)
        .hasSize(11);
    assertThat(ShardLayout.cut(parameters(Collections.nCopies(400, half)), 25 * MEBIBYTE))
        .extracting(bucket -> Float.BYTES * ShardLayout.elementCount(bucket))
        .startsWith(MEBIBYTE, 4 * MEBIBYTE, 16 * MEBIBYTE, 20 * MEBIBYTE);
  }
}
