package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.Tensor;

/** RMSNorm, by rows that stay in the first cache. */
final class RmsNormalization {
  private final NormPieces pieces = new NormPieces();

  void forward(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor rstd) {
    EngineContract.rmsNorm(x, weight, out, rstd);
    long from = Floats.address("rmsNorm", x);
    long to = Floats.address("rmsNorm", out);
    if (x.elementCount() == 0) {
      return;
    }
    int width = Math.toIntExact(x.size(1));
    int most = FloatPiece.rowsOf(width);
    float[] gains = pieces.weights.tile(Floats.address("rmsNorm", weight), width, most);
    for (long start = 0; start < x.size(0); start += most) {
      int rows = (int) Math.min(most, x.size(0) - start);
      float[] values = pieces.x.read(Floats.at(from, start * width), rows * width);
      float[] deviations = pieces.deviations.room(rows);
      for (int row = 0; row < rows; row++) {
        int at = row * width;
        float square = FloatRows.dot(values, at, values, at, width) / width;
        float scale = (float) (1 / Math.sqrt(square + epsilon));
        FloatRows.scale(values, at, width, scale);
        deviations[row] = scale;
      }
      FloatRows.multiply(values, gains, rows * width);
      pieces.x.write(Floats.at(to, start * width), rows * width);
      pieces.deviations.write(Floats.at(Floats.address("rmsNorm", rstd), start), rows);
    }
  }

  /**
   * With n = x rstd and g = dy weight: {@code dx = rstd (g - n mean(g n))}, and over rows {@code
   * dWeight = sum of dy n}.
   */
  void backward(
      Tensor dy,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      Tensor dx,
      boolean accumulateInput,
      Tensor dWeight,
      boolean accumulateParameters) {
    EngineContract.rmsNormBackward(dy, x, weight, rstd, dx, dWeight);
    String kernel = "rmsNormBackward";
    long slopes = Floats.address(kernel, dy);
    long from = Floats.address(kernel, x);
    long to = Floats.address(kernel, dx);
    int width = Math.toIntExact(x.size(1));
    int most = FloatPiece.rowsOf(width);
    float[] gains = pieces.weights.tile(Floats.address(kernel, weight), width, most);
    float[] weightSum = NormPieces.start(pieces.weightSums, dWeight, accumulateParameters, most);
    for (long start = 0; start < x.size(0); start += most) {
      int rows = (int) Math.min(most, x.size(0) - start);
      int count = rows * width;
      float[] values = pieces.x.read(Floats.at(from, start * width), count);
      float[] given = pieces.dy.read(Floats.at(slopes, start * width), count);
      float[] deviations =
          pieces.deviations.read(Floats.at(Floats.address(kernel, rstd), start), rows);
      for (int row = 0; row < rows; row++) {
        FloatRows.scale(values, row * width, width, deviations[row]);
      }
      NormPieces.addProducts(given, values, weightSum, count);
      FloatRows.multiply(given, gains, count);
      for (int row = 0; row < rows; row++) {
        int at = row * width;
        float slope = FloatRows.dot(given, at, values, at, width) / width;
        finish(given, values, at, slope, deviations[row], width);
      }
      pieces.store(Floats.at(to, start * width), count, accumulateInput);
    }
    NormPieces.finish(pieces.weightSums, dWeight, most);
  }

  private static void finish(
      float[] slopes, float[] normal, int start, float slope, float scale, int width) {
    for (int i = start; i < start + width; i++) {
      slopes[i] = scale * (slopes[i] - normal[i] * slope);
    }
  }
}
