package dev.phalanx.engine.torch;

import dev.phalanx.tensor.Tensor;
import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/**
 * LayerNorm. LibTorch keeps the statistics of BFLOAT16 rows in FLOAT32 where the weights are
 * FLOAT32, so weights go in widened.
 */
final class LayerNormalization {
  private final TorchContext context;
  private final NormParameters parameters;
  private final BoolPointer allGradients;

  LayerNormalization(TorchContext context) {
    this.context = context;
    this.parameters = new NormParameters(context);
    this.allGradients = context.own(new BoolPointer(3));
    for (int i = 0; i < 3; i++) {
      allGradients.put(i, true);
    }
  }

  void forward(
      Tensor x, Tensor weight, Tensor bias, double epsilon, Tensor out, Tensor mean, Tensor rstd) {
    Arguments.alike("layerNorm", x, out);
    parameters.check("layerNorm", x, weight, bias);
    parameters.checkStatistics("layerNorm", x, mean, rstd);
    if (x.elementCount() == 0) {
      return;
    }
    try (var wideWeight = new TensorOptional(parameters.wide(weight, 0));
        var wideBias = new TensorOptional(parameters.wide(bias, 1));
        var results =
            torch.native_layer_norm(
                context.of(x), new long[] {x.size(1)}, wideWeight, wideBias, epsilon);
        var meanColumn = parameters.column(mean);
        var rstdColumn = parameters.column(rstd)) {
      context.of(out).copy_(results.get0());
      meanColumn.copy_(results.get1());
      rstdColumn.copy_(results.get2());
    }
  }

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
    Arguments.alike("layerNormBackward", x, dy, dx);
    parameters.check("layerNormBackward", x, weight);
    parameters.checkStatistics("layerNormBackward", x, mean, rstd);
    parameters.checkGradients("layerNormBackward", x, dWeight, dBias);
    if (x.elementCount() == 0) {
      parameters.clear(accumulateParameters, dWeight, dBias);
      return;
    }
    // The kernel does not read the bias, but gives its gradient only where there is one.
    try (var meanColumn = parameters.column(mean);
        var rstdColumn = parameters.column(rstd);
        var wideWeight = new TensorOptional(parameters.wide(weight, 0));
        var results =
            torch.native_layer_norm_backward(
                context.of(dy),
                context.of(x),
                new long[] {x.size(1)},
                meanColumn,
                rstdColumn,
                wideWeight,
                wideWeight,
                allGradients)) {
      store(results.get0(), dx, accumulateInput);
      store(results.get1(), dWeight, accumulateParameters);
      store(results.get2(), dBias, accumulateParameters);
    }
  }

  private void store(org.bytedeco.pytorch.Tensor result, Tensor target, boolean accumulate) {
    if (accumulate) {
      context.of(target).add_(result);
    } else {
      context.of(target).copy_(result);
    }
  }
}
