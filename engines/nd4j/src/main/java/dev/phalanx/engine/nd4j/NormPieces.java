package dev.phalanx.engine.nd4j;

import dev.phalanx.tensor.Tensor;

/** Pieces of what the two norms read and write, and the loops that both need. */
final class NormPieces {
  final FloatPiece x = new FloatPiece();
  final FloatPiece dy = new FloatPiece();
  final FloatPiece weights = new FloatPiece();
  final FloatPiece deviations = new FloatPiece();
  final FloatPiece weightSums = new FloatPiece();
  private final FloatPiece present = new FloatPiece();

  /** A running sum for each row of a piece: of the first, what the gradient is added to. */
  static float[] start(FloatPiece sums, Tensor gradient, boolean accumulate, int rows) {
    int width = Math.toIntExact(gradient.size(0));
    long address = Floats.address("a norm's gradient", gradient);
    float[] array = sums.room(rows * width);
    FloatRows.clear(array, rows * width);
    if (accumulate) {
      sums.read(address, width);
    }
    return array;
  }

  /** Adds the running sums up and stores them. */
  static void finish(FloatPiece sums, Tensor gradient, int rows) {
    int width = Math.toIntExact(gradient.size(0));
    sums.foldRows(width, rows);
    sums.write(gradient.address(), width);
  }

  /** Puts the piece of {@code dy}, by now the input's gradient, in its place. */
  void store(long address, int count, boolean accumulate) {
    if (accumulate) {
      FloatRows.add(present.read(address, count), dy.room(count), count);
    }
    dy.write(address, count);
  }

  /** {@code sums[i] += x[i] y[i]}. */
  static void addProducts(float[] x, float[] y, float[] sums, int count) {
    for (int i = 0; i < count; i++) {
      sums[i] += x[i] * y[i];
    }
  }
}
