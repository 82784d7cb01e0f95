package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.Arguments;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.FasterGelu;
import dev.phalanx.engine.host.HostTensors;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;

/**
 * GELU, SiLU and SwiGLU with their gradients: most of GELU by oneDNN where that gains, all else
 * from the logistic function s(x) = 1 / (1 + exp(-x)): GELU's 0.5 (1 + tanh u) is s(2u).
 */
final class Activations {
  /** sqrt(8 / pi): twice GELU's factor. */
  private static final float TWICE_SLOPE = 1.5957691216057308f;

  private static final float CUBIC = 0.044715f;

  private final Exponential exponential = new Exponential();
  private final FloatPiece x = new FloatPiece();
  private final FloatPiece y = new FloatPiece();
  private final FloatPiece dy = new FloatPiece();
  private final FloatPiece up = new FloatPiece();
  private final FloatPiece dUp = new FloatPiece();
  private final FasterGelu fasterGelu;

  Activations(FasterGelu fasterGelu) {
    this.fasterGelu = fasterGelu;
  }

  void gelu(Tensor input, Tensor out) {
    forward("gelu", input, out, true);
  }

  void geluBackward(Tensor gradient, Tensor input, Tensor inputGradient) {
    backward("geluBackward", gradient, input, inputGradient, true);
  }

  void silu(Tensor input, Tensor out) {
    forward("silu", input, out, false);
  }

  void siluBackward(Tensor gradient, Tensor input, Tensor inputGradient) {
    backward("siluBackward", gradient, input, inputGradient, false);
  }

  private void forward(String kernel, Tensor input, Tensor out, boolean isGelu) {
    Arguments.alike(kernel, input, out);
    long from = Floats.address(kernel, input);
    long to = Floats.address(kernel, out);
    long total = input.elementCount();
    long first = isGelu ? fasterGelu.forward(DType.FLOAT32, from, to, total) : 0;
    for (long start = first; start < total; start += FloatPiece.SIZE) {
      int count = (int) Math.min(FloatPiece.SIZE, total - start);
      float[] values = x.read(Floats.at(from, start), count);
      float[] results = y.room(count);
      powers(values, results, count, isGelu);
      byLogistic(values, results, count);
      y.write(Floats.at(to, start), count);
    }
  }

  /** {@code exp(-2u)} for GELU, else {@code exp(-x)}. */
  private void powers(float[] values, float[] results, int count, boolean isGelu) {
    if (isGelu) {
      geluArguments(values, results, count);
    } else {
      negated(values, results, count);
    }
    exponential.apply(results, count);
  }

  private static void geluArguments(float[] values, float[] results, int count) {
    for (int i = 0; i < count; i++) {
      float v = values[i];
      results[i] = -TWICE_SLOPE * (v + CUBIC * v * v * v);
    }
  }

  private static void negated(float[] values, float[] results, int count) {
    for (int i = 0; i < count; i++) {
      results[i] = -values[i];
    }
  }

  /** {@code x s} from the powers. */
  private static void byLogistic(float[] values, float[] powers, int count) {
    for (int i = 0; i < count; i++) {
      powers[i] = values[i] / (1 + powers[i]);
    }
  }

  private void backward(
      String kernel, Tensor gradient, Tensor input, Tensor inputGradient, boolean isGelu) {
    Arguments.alike(kernel, gradient, input, inputGradient);
    long slopes = Floats.address(kernel, gradient);
    long from = Floats.address(kernel, input);
    long to = Floats.address(kernel, inputGradient);
    long total = input.elementCount();
    long first = isGelu ? fasterGelu.backward(DType.FLOAT32, slopes, from, to, total) : 0;
    for (long start = first; start < total; start += FloatPiece.SIZE) {
      int count = (int) Math.min(FloatPiece.SIZE, total - start);
      float[] values = x.read(Floats.at(from, start), count);
      float[] results = y.room(count);
      float[] given = dy.read(Floats.at(slopes, start), count);
      powers(values, results, count, isGelu);
      if (isGelu) {
        geluSlopes(values, results, given, count);
      } else {
        siluSlopes(values, results, given, count);
      }
      y.write(Floats.at(to, start), count);
    }
  }

  /** {@code dy (s + x s (1 - s) 2 du/dx)}. */
  private static void geluSlopes(float[] values, float[] powers, float[] given, int count) {
    for (int i = 0; i < count; i++) {
      float v = values[i];
      float s = 1 / (1 + powers[i]);
      float twice = TWICE_SLOPE * (1 + 3 * CUBIC * v * v);
      powers[i] = given[i] * (s + v * twice * s * (1 - s));
    }
  }

  /** {@code dy (s + x s (1 - s))}. */
  private static void siluSlopes(float[] values, float[] powers, float[] given, int count) {
    for (int i = 0; i < count; i++) {
      float s = 1 / (1 + powers[i]);
      powers[i] = given[i] * (s + values[i] * s * (1 - s));
    }
  }

  void swiGlu(Tensor gate, Tensor upper, Tensor out) {
    EngineContract.swiGlu(gate, upper, out);
    Arguments.denseRows("swiGlu", gate, upper);
    long gates = Floats.address("swiGlu", gate);
    long ups = Floats.address("swiGlu", upper);
    long to = Floats.address("swiGlu", out);
    int width = Math.toIntExact(gate.size(1));
    if (gate.elementCount() == 0) {
      return;
    }
    long gateStride = HostTensors.rowStride(gate);
    long upStride = HostTensors.rowStride(upper);
    int most = FloatPiece.rowsOf(width);
    for (long start = 0; start < gate.size(0); start += most) {
      int rows = (int) Math.min(most, gate.size(0) - start);
      int count = rows * width;
      float[] values = x.readRows(Floats.at(gates, start * gateStride), rows, width, gateStride);
      float[] factors = up.readRows(Floats.at(ups, start * upStride), rows, width, upStride);
      float[] results = y.room(count);
      powers(values, results, count, false);
      byLogistic(values, results, count);
      for (int i = 0; i < count; i++) {
        results[i] *= factors[i];
      }
      y.write(Floats.at(to, start * width), count);
    }
  }

  void swiGluBackward(Tensor gradient, Tensor gate, Tensor upper, Tensor dGate, Tensor dUpper) {
    EngineContract.swiGluBackward(gradient, gate, upper, dGate, dUpper);
    Arguments.denseRows("swiGluBackward", gate, upper, dGate, dUpper);
    long slopes = Floats.address("swiGluBackward", gradient);
    long gates = Floats.address("swiGluBackward", gate);
    long ups = Floats.address("swiGluBackward", upper);
    long toGate = Floats.address("swiGluBackward", dGate);
    long toUp = Floats.address("swiGluBackward", dUpper);
    int width = Math.toIntExact(gate.size(1));
    if (gate.elementCount() == 0) {
      return;
    }
    long gateStride = HostTensors.rowStride(gate);
    long upStride = HostTensors.rowStride(upper);
    long dGateStride = HostTensors.rowStride(dGate);
    long dUpStride = HostTensors.rowStride(dUpper);
    int most = FloatPiece.rowsOf(width);
    for (long start = 0; start < gate.size(0); start += most) {
      int rows = (int) Math.min(most, gate.size(0) - start);
      int count = rows * width;
      float[] values = x.readRows(Floats.at(gates, start * gateStride), rows, width, gateStride);
      float[] factors = up.readRows(Floats.at(ups, start * upStride), rows, width, upStride);
      float[] given = dy.read(Floats.at(slopes, start * width), count);
      float[] results = y.room(count);
      float[] upSlopes = dUp.room(count);
      powers(values, results, count, false);
      swiGluSlopes(values, factors, given, results, upSlopes, count);
      y.writeRows(Floats.at(toGate, start * dGateStride), rows, width, dGateStride);
      dUp.writeRows(Floats.at(toUp, start * dUpStride), rows, width, dUpStride);
    }
  }

  private static void swiGluSlopes(
      float[] values, float[] factors, float[] given, float[] powers, float[] upSlopes, int count) {
    for (int i = 0; i < count; i++) {
      float s = 1 / (1 + powers[i]);
      float silu = values[i] * s;
      upSlopes[i] = given[i] * silu;
      powers[i] = given[i] * factors[i] * (s + silu * (1 - s));
    }
  }
}
