package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.Sgd;
import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Updates of flat memory. */
final class Optimizers {
  private final FloatPiece parameter = new FloatPiece();
  private final FloatPiece gradient = new FloatPiece();
  private final FloatPiece first = new FloatPiece();
  private final FloatPiece second = new FloatPiece();

  void adamW(
      AdamW update,
      Tensor parameters,
      Tensor gradients,
      Tensor firstMoments,
      Tensor secondMoments) {
    EngineContract.adamW(update, parameters, gradients, firstMoments, secondMoments);
    boolean isFrozen = update.isVarianceFrozen();
    double firstCorrection = 1 - Math.pow(update.beta1(), update.step());
    double secondCorrection =
        1 - Math.pow(update.beta2(), Math.min(update.step(), update.varianceSteps()));
    float oneMinusBeta1 = (float) (1 - update.beta1());
    float beta2 = (float) update.beta2();
    float oneMinusBeta2 = (float) (1 - update.beta2());
    float scale = (float) update.gradientScale();
    float decay = (float) (1 - update.learningRate() * update.weightDecay());
    float rate = (float) (update.learningRate() / firstCorrection);
    float root = (float) (1 / Math.sqrt(secondCorrection));
    float epsilon = (float) update.epsilon();
    long p = Floats.address("adamW", parameters);
    long g = Floats.address("adamW", gradients);
    long m = Floats.address("adamW", firstMoments);
    long v = Floats.address("adamW", secondMoments);
    long total = parameters.elementCount();
    for (long start = 0; start < total; start += FloatPiece.SIZE) {
      int count = (int) Math.min(FloatPiece.SIZE, total - start);
      float[] values = parameter.read(Floats.at(p, start), count);
      float[] slopes = gradient.read(Floats.at(g, start), count);
      float[] averages = first.read(Floats.at(m, start), count);
      float[] squares = second.read(Floats.at(v, start), count);
      if (isFrozen) {
        for (int i = 0; i < count; i++) {
          averages[i] = scale * slopes[i];
        }
      } else {
        moments(slopes, averages, squares, scale, oneMinusBeta1, beta2, oneMinusBeta2, count);
        second.write(Floats.at(v, start), count);
      }
      move(values, averages, squares, decay, rate, root, epsilon, count);
      parameter.write(Floats.at(p, start), count);
      first.write(Floats.at(m, start), count);
    }
  }

  private static void moments(
      float[] slopes,
      float[] averages,
      float[] squares,
      float scale,
      float oneMinusBeta1,
      float beta2,
      float oneMinusBeta2,
      int count) {
    for (int i = 0; i < count; i++) {
      float slope = scale * slopes[i];
      averages[i] += oneMinusBeta1 * (slope - averages[i]);
      squares[i] = beta2 * squares[i] + oneMinusBeta2 * slope * slope;
    }
  }

  private static void move(
      float[] values,
      float[] averages,
      float[] squares,
      float decay,
      float rate,
      float root,
      float epsilon,
      int count) {
    for (int i = 0; i < count; i++) {
      float deviation = (float) Math.sqrt(squares[i]) * root + epsilon;
      values[i] = values[i] * decay - rate * averages[i] / deviation;
    }
  }

  void sgd(Sgd update, Tensor parameters, Tensor gradients, @Nullable Tensor momenta) {
    EngineContract.sgd(update, parameters, gradients, momenta);
    long p = Floats.address("sgd", parameters);
    long g = Floats.address("sgd", gradients);
    long m = momenta == null ? 0 : Floats.address("sgd", momenta);
    float scale = (float) update.gradientScale();
    float decay = (float) update.weightDecay();
    float momentum = (float) update.momentum();
    float rate = (float) update.learningRate();
    long total = parameters.elementCount();
    for (long start = 0; start < total; start += FloatPiece.SIZE) {
      int count = (int) Math.min(FloatPiece.SIZE, total - start);
      float[] values = parameter.read(Floats.at(p, start), count);
      float[] slopes = gradient.read(Floats.at(g, start), count);
      for (int i = 0; i < count; i++) {
        slopes[i] = scale * slopes[i] + decay * values[i];
      }
      if (momenta != null) {
        float[] averages = first.read(Floats.at(m, start), count);
        withMomentum(slopes, averages, momentum, update.nesterov(), count);
        first.write(Floats.at(m, start), count);
      }
      for (int i = 0; i < count; i++) {
        values[i] -= rate * slopes[i];
      }
      parameter.write(Floats.at(p, start), count);
    }
  }

  private static void withMomentum(
      float[] slopes, float[] averages, float momentum, boolean isNesterov, int count) {
    for (int i = 0; i < count; i++) {
      float average = momentum * averages[i] + slopes[i];
      slopes[i] = isNesterov ? slopes[i] + momentum * average : average;
      averages[i] = average;
    }
  }
}
