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

  /** What the gradient of a parameter is added to. */
  float[] startSum(FloatPiece piece, Tensor gradient, boolean accumulate) {
    int width = Math.toIntExact(gradient.size(0));
    long address = Floats.address("a norm's gradient", gradient);
    float[] sum = piece.room(width);
    if (accumulate) {
      piece.read(address, width);
    } else {
      FloatRows.clear(sum, width);
    }
    return sum;
  }

  /** Puts the piece of {@code dy}, by now the input's gradient, in its place. */
  void store(long address, int count, boolean accumulate) {
    if (accumulate) {
      FloatRows.add(present.read(address, count), 0, dy.room(count), count);
    }
    dy.write(address, count);
  }

  /** {@code sum[i] += x[start + i] y[start + i]}. */
  static void addProducts(float[] x, float[] y, int start, float[] sum, int width) {
    for (int i = 0; i < width; i++) {
      sum[i] += x[start + i] * y[start + i];
    }
  }

  /** {@code values[start + i] *= factors[i]}. */
  static void multiply(float[] values, int start, float[] factors, int width) {
    for (int i = 0; i < width; i++) {
      values[start + i] *= factors[i];
    }
  }
}
