package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/**
 * LayerNorm. LibTorch keeps the statistics of BFLOAT16 rows in FLOAT32 where the weights are
 * FLOAT32, so weights go in widened.
 */
final class LayerNormalization {
  /**
   * Rows are worked on in pieces that stay in cache between the kernel and the copy of its result.
   */
  private static final long CHUNK_ELEMENTS = 64 * 1024;

  private final TorchContext context;
  private final NormParameters parameters;
  private final BoolPointer allGradients;
  private final Scratch weightSums;
  private final Scratch biasSums;
  private final Scratch wideX;
  private final Scratch wideDy;

  LayerNormalization(TorchContext context) {
    this.context = context;
    this.parameters = new NormParameters(context);
    this.allGradients = context.own(new BoolPointer(3));
    for (int i = 0; i < 3; i++) {
      allGradients.put(i, true);
    }
    this.weightSums = context.scratch();
    this.biasSums = context.scratch();
    this.wideX = context.scratch();
    this.wideDy = context.scratch();
  }

  void forward(
      Tensor x, Tensor weight, Tensor bias, double epsilon, Tensor out, Tensor mean, Tensor rstd) {
    EngineContract.layerNorm(x, weight, bias, out, mean, rstd);
    if (x.elementCount() == 0) {
      return;
    }
    long width = x.size(1);
    long chunk = chunkRows(width);
    try (var wideWeight = new TensorOptional(parameters.wide(weight, 0));
        var wideBias = new TensorOptional(parameters.wide(bias, 1));
        var meanColumn = parameters.column(mean);
        var rstdColumn = parameters.column(rstd)) {
      for (long start = 0; start < x.size(0); start += chunk) {
        long count = Math.min(chunk, x.size(0) - start);
        try (var xRows = context.of(x).narrow(0, start, count);
            var outRows = context.of(out).narrow(0, start, count);
            var means = meanColumn.narrow(0, start, count);
            var deviations = rstdColumn.narrow(0, start, count);
            var results =
                torch.native_layer_norm(xRows, new long[] {width}, wideWeight, wideBias, epsilon)) {
          outRows.copy_(results.get0());
          means.copy_(results.get1());
          deviations.copy_(results.get2());
        }
      }
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
    EngineContract.layerNormBackward(dy, x, weight, mean, rstd, dx, dWeight, dBias);
    if (x.elementCount() == 0) {
      parameters.clear(accumulateParameters, dWeight, dBias);
      return;
    }
    long width = x.size(1);
    long chunk = chunkRows(width);
    // The kernel does not read the bias, but gives its gradient only where there is one.
    try (var meanColumn = parameters.column(mean);
        var rstdColumn = parameters.column(rstd);
        var wideWeight = new TensorOptional(parameters.wide(weight, 0))) {
      var weightSum = weightSums.get(DType.FLOAT32, width);
      var biasSum = biasSums.get(DType.FLOAT32, width);
      weightSum.zero_();
      biasSum.zero_();
      for (long start = 0; start < x.size(0); start += chunk) {
        long count = Math.min(chunk, x.size(0) - start);
        try (var xRows = context.of(x).narrow(0, start, count);
            var dyRows = context.of(dy).narrow(0, start, count);
            var dxRows = context.of(dx).narrow(0, start, count);
            var means = meanColumn.narrow(0, start, count);
            var deviations = rstdColumn.narrow(0, start, count);
            var results =
                torch.native_layer_norm_backward(
                    wide(dyRows, dy.dtype(), wideDy, count, width),
                    wide(xRows, x.dtype(), wideX, count, width),
                    new long[] {width},
                    means,
                    deviations,
                    wideWeight,
                    wideWeight,
                    allGradients)) {
          store(results.get0(), dxRows, accumulateInput);
          weightSum.add_(results.get1());
          biasSum.add_(results.get2());
        }
      }
      store(weightSum, context.of(dWeight), accumulateParameters);
      store(biasSum, context.of(dBias), accumulateParameters);
    }
  }

  /** BFLOAT16 rows are widened: the kernel would sum the parameters' gradients in BFLOAT16. */
  private static org.bytedeco.pytorch.Tensor wide(
      org.bytedeco.pytorch.Tensor rows, DType dtype, Scratch scratch, long count, long width) {
    if (dtype == DType.FLOAT32) {
      return rows;
    }
    var copy = scratch.get(DType.FLOAT32, count, width);
    copy.copy_(rows);
    return copy;
  }

  private static long chunkRows(long width) {
    return Math.max(1, CHUNK_ELEMENTS / width);
  }

  private static void store(
      org.bytedeco.pytorch.Tensor result, org.bytedeco.pytorch.Tensor target, boolean accumulate) {
    if (accumulate) {
      target.add_(result);
    } else {
      target.copy_(result);
    }
  }
}
