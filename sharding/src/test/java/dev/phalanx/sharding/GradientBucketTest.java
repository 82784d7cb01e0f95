package dev.phalanx.sharding;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.List;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.LongRange;

final class GradientBucketTest {
  @Provide
  Arbitrary<List<Shape>> models() {
    return ModelShapes.arbitrary();
  }

  @Property(tries = 200)
  void bucketsCoverFlatGradientsOnceInOrder(
      @ForAll("models") List<Shape> shapes,
      @ForAll @LongRange(min = 1, max = 10_000) long capacity,
      @ForAll @LongRange(min = 1, max = 10_000) long firstCapacity) {
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes)) {
      FlatParameters flat = model.flat();
      List<GradientBucket> buckets =
          model.buckets(GradientBucket.cut(model.flat().parameters(), capacity, firstCapacity));

      long end = 0;
      for (int i = 0; i < buckets.size(); i++) {
        GradientBucket bucket = buckets.get(i);
        assertThat(bucket.index()).isEqualTo(i);
        assertThat(bucket.gradients().storage()).isSameAs(flat.gradients().storage());
        assertThat(bucket.gradients().offset()).isEqualTo(end);
        assertThat(bucket.gradients().elementCount()).isEqualTo(elements(bucket.parameters()));
        end += bucket.gradients().elementCount();
      }
      assertThat(end).isEqualTo(flat.elementCount());
      assertThat(buckets.stream().flatMap(bucket -> bucket.parameters().stream()))
          .containsExactlyElementsOf(flat.parameters());
    }
  }

  @Property(tries = 200)
  void aBucketEndsWithTheParameterThatFillsIt(
      @ForAll("models") List<Shape> shapes,
      @ForAll @LongRange(min = 1, max = 10_000) long capacity,
      @ForAll @LongRange(min = 1, max = 10_000) long firstCapacity) {
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes)) {
      List<GradientBucket> buckets =
          model.buckets(GradientBucket.cut(model.flat().parameters(), capacity, firstCapacity));

      for (GradientBucket bucket : buckets) {
        long limit = bucket.index() == 0 ? firstCapacity : capacity;
        List<Parameter> allButLast = bucket.parameters().subList(0, bucket.parameters().size() - 1);
        assertThat(Float.BYTES * elements(allButLast)).isLessThan(limit);
        if (bucket.index() < buckets.size() - 1) {
          assertThat(bucket.gradients().byteSize()).isGreaterThanOrEqualTo(limit);
        }
      }
    }
  }

  private static long elements(List<Parameter> parameters) {
    return parameters.stream().mapToLong(parameter -> parameter.shape().elementCount()).sum();
  }

  @Example
  void aParameterLargerThanABucketIsNotCut() {
    try (FlatModel model = FlatModel.of(Shape.of(2), Shape.of(1000), Shape.of(2), Shape.of(2))) {
      List<GradientBucket> buckets =
          model.buckets(GradientBucket.cut(model.flat().parameters(), 32, 8));

      assertThat(buckets)
          .extracting(bucket -> bucket.gradients().elementCount())
          .containsExactly(2L, 1002L, 2L);
    }
  }

  @Example
  void theFirstBucketEndsEarlierSoThatTheNetworkHasWorkSoon() {
    try (FlatModel model =
        FlatModel.of(Shape.of(4), Shape.of(4), Shape.of(4), Shape.of(4), Shape.of(4))) {
      assertThat(model.buckets(GradientBucket.cut(model.flat().parameters(), 64, 16)))
          .extracting(bucket -> bucket.gradients().byteSize())
          .containsExactly(16L, 64L);
    }
  }
}
