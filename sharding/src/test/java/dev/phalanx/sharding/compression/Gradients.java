package dev.phalanx.sharding.compression;

import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.Shape;
import java.util.ArrayList;
import java.util.List;

/** Gradients that any rank can make for any other. */
final class Gradients {
  private Gradients() {}

  /** Of the standard normal distribution. */
  static float[] normal(int count, int rank, long step) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) CounterRandom.normal(1000 * step + rank, i);
    }
    return values;
  }

  /** A matrix, about square, and a vector of what is left. */
  static List<Shape> shapes(int count) {
    int columns = (int) Math.sqrt(count);
    int rows = count / columns;
    List<Shape> shapes = new ArrayList<>();
    shapes.add(Shape.of(rows, columns));
    if (rows * columns < count) {
      shapes.add(Shape.of(count - rows * columns));
    }
    return shapes;
  }
}
