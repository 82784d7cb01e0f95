package dev.phalanx.sharding;

import dev.phalanx.tensor.Shape;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;

/**
 * Parameters as models have them: gains, biases and matrices, small and large, a scalar at times.
 */
final class ModelShapes {
  private ModelShapes() {}

  static Arbitrary<List<Shape>> arbitrary() {
    return Arbitraries.longs()
        .between(1, 40)
        .array(long[].class)
        .ofMinSize(0)
        .ofMaxSize(2)
        .map(Shape::of)
        .list()
        .ofMinSize(1)
        .ofMaxSize(12);
  }
}
