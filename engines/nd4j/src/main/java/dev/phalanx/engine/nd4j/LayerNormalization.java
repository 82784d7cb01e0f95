package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.Tensor;

/** LayerNorm, by rows that stay in the first cache. */
final class LayerNormalization {
  private final NormPieces pieces = new NormPieces();
  private final FloatPiece biases = new FloatPiece();
  private final FloatPiece means = new FloatPiece();
  private final FloatPiece biasSums = new FloatPiece();

  void forward(
      Tensor x, Tensor weight, Tensor bias, double epsilon, Tensor out, Tensor mean, Tensor rstd) {
    EngineContract.layerNorm(x, weight, bias, out, mean, rstd);
    long from = Floats.address("layerNorm", x);
    long to = Floats.address("layerNorm", out);
    if (x.elementCount() == 0) {
      return;
    }
    int width = Math.toIntExact(x.size(1));
    int most = FloatPiece.rowsOf(width);
    float[] gains = pieces.weights.tile(Floats.address("layerNorm", weight), width, most);
    float[] shifts = biases.tile(Floats.address("layerNorm", bias), width, most);
    for (long start = 0; start < x.size(0); start += most) {
      int rows = (int) Math.min(most, x.size(0) - start);
      float[] values = pieces.x.read(Floats.at(from, start * width), rows * width);
      float[] ownMeans = means.room(rows);
      float[] deviations = pieces.deviations.room(rows);
      for (int row = 0; row < rows; row++) {
        int at = row * width;
        float average = FloatRows.sum(values, at, width) / width;
        FloatRows.subtract(values, at, width, average);
        float variance = FloatRows.dot(values, at, values, at, width) / width;
        float scale = (float) (1 / Math.sqrt(variance + epsilon));
        FloatRows.scale(values, at, width, scale);
        ownMeans[row] = average;
        deviations[row] = scale;
      }
      apply(values, gains, shifts, rows * width);
      pieces.x.write(Floats.at(to, start * width), rows * width);
      means.write(Floats.at(Floats.address("layerNorm", mean), start), rows);
      pieces.deviations.write(Floats.at(Floats.address("layerNorm", rstd), start), rows);
    }
  }

  private static void apply(float[] values, float[] gains, float[] shifts, int count) {
    for (int i = 0; i < count; i++) {
      values[i] = values[i] * gains[i] + shifts[i];
    }
  }

  /**
   * With n = (x - mean) rstd and g = dy weight: {@code dx = rstd (g - mean(g) - n mean(g n))}, and
   * over rows {@code dWeight = sum of dy n} and {@code dBias = sum of dy}.
   */
  void backward(
      Tensor dy,
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor rstd,
      Tensor dx,
      boolean accumulateInput,
      Tensor dWeight,
      Tensor dBias,
      boolean accumulateParameters) {
    EngineContract.layerNormBackward(dy, x, weight, mean, rstd, dx, dWeight, dBias);
    String kernel = "layerNormBackward";
    long slopes = Floats.address(kernel, dy);
    long from = Floats.address(kernel, x);
    long to = Floats.address(kernel, dx);
    int width = Math.toIntExact(x.size(1));
    int most = FloatPiece.rowsOf(width);
    float[] gains = pieces.weights.tile(Floats.address(kernel, weight), width, most);
    float[] weightSum = NormPieces.start(pieces.weightSums, dWeight, accumulateParameters, most);
    float[] biasSum = NormPieces.start(biasSums, dBias, accumulateParameters, most);
    for (long start = 0; start < x.size(0); start += most) {
      int rows = (int) Math.min(most, x.size(0) - start);
      int count = rows * width;
      float[] values = pieces.x.read(Floats.at(from, start * width), count);
      float[] given = pieces.dy.read(Floats.at(slopes, start * width), count);
      float[] ownMeans = means.read(Floats.at(Floats.address(kernel, mean), start), rows);
      float[] deviations =
          pieces.deviations.read(Floats.at(Floats.address(kernel, rstd), start), rows);
      for (int row = 0; row < rows; row++) {
        normalize(values, row * width, ownMeans[row], deviations[row], width);
      }
      NormPieces.addProducts(given, values, weightSum, count);
      FloatRows.add(given, biasSum, count);
      FloatRows.multiply(given, gains, count);
      for (int row = 0; row < rows; row++) {
        int at = row * width;
        float average = FloatRows.sum(given, at, width) / width;
        float slope = FloatRows.dot(given, at, values, at, width) / width;
        finish(given, values, at, average, slope, deviations[row], width);
      }
      pieces.store(Floats.at(to, start * width), count, accumulateInput);
    }
    NormPieces.finish(pieces.weightSums, dWeight, most);
    NormPieces.finish(biasSums, dBias, most);
  }

  private static void normalize(float[] values, int start, float mean, float scale, int width) {
    for (int i = start; i < start + width; i++) {
      values[i] = (values[i] - mean) * scale;
    }
  }

  private static void finish(
      float[] slopes,
      float[] normal,
      int start,
      float average,
      float slope,
      float scale,
      int width) {
    for (int i = start; i < start + width; i++) {
      slopes[i] = scale * (slopes[i] - average - normal[i] * slope);
    }
  }
}
