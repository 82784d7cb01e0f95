package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * RMSNorm. LibTorch has no fused CPU kernels for it: it is put together from a few operations on
 * rows that stay in cache, in FLOAT32 also for BFLOAT16 inputs.
 */
final class RmsNormalization {
  /** Elements of the rows taken at once: with their companions they fit the second cache. */
  private static final long CHUNK_ELEMENTS = 64 * 1024;

  private static final long[] INNERMOST = {1};

  private final TorchContext context;
  private final NormParameters parameters;
  private final Scratch wideX;
  private final Scratch wideDy;
  private final Scratch products;
  private final Scratch coefficients;
  private final Scratch weightSums;

  RmsNormalization(TorchContext context) {
    this.context = context;
    this.parameters = new NormParameters(context);
    this.wideX = context.scratch();
    this.wideDy = context.scratch();
    this.products = context.scratch();
    this.coefficients = context.scratch();
    this.weightSums = context.scratch();
  }

  void forward(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor rstd) {
    EngineContract.rmsNorm(x, weight, out, rstd);
    if (x.elementCount() == 0) {
      return;
    }
    long width = x.size(1);
    var scale = parameters.wide(weight, 0);
    long chunk = chunkRows(width);
    try (var rstdColumn = parameters.column(rstd)) {
      for (long start = 0; start < x.size(0); start += chunk) {
        long count = Math.min(chunk, x.size(0) - start);
        try (var xRows = context.of(x).narrow(0, start, count);
            var outRows = context.of(out).narrow(0, start, count);
            var deviations = rstdColumn.narrow(0, start, count)) {
          var wide = inFloat32(xRows, x.dtype(), wideX, count, width);
          torch.linalg_vector_norm_out(
              deviations, wide, context.scalar(2), INNERMOST, true, context.type(DType.FLOAT32));
          // 1 / sqrt(norm^2 / d + epsilon)
          deviations.square_();
          deviations.mul_(context.scalar(1.0 / width));
          deviations.add_(context.scalar(epsilon));
          deviations.rsqrt_();
          if (x.dtype() == DType.FLOAT32) {
            torch.mul_out(outRows, wide, deviations);
            outRows.mul_(scale);
          } else {
            wide.mul_(deviations);
            wide.mul_(scale);
            outRows.copy_(wide);
          }
        }
      }
    }
  }

  /**
   * With g = dy * weight: {@code dx = rstd g - x rstd^3 / d (sum of g x)}, and {@code dWeight = sum
   * over rows of dy x rstd}. Both sums are products of the matrix dy x with a vector.
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
    if (x.elementCount() == 0) {
      parameters.clear(accumulateParameters, dWeight);
      return;
    }
    long width = x.size(1);
    var scale = parameters.wide(weight, 0);
    var sums = weightSums.get(DType.FLOAT32, 1, width);
    sums.zero_();
    long chunk = chunkRows(width);
    try (var rstdColumn = parameters.column(rstd);
        var scaleColumn = scale.unsqueeze(1)) {
      for (long start = 0; start < x.size(0); start += chunk) {
        long count = Math.min(chunk, x.size(0) - start);
        try (var xRows = context.of(x).narrow(0, start, count);
            var dyRows = context.of(dy).narrow(0, start, count);
            var dxRows = context.of(dx).narrow(0, start, count);
            var deviations = rstdColumn.narrow(0, start, count);
            var deviationRow = deviations.t()) {
          var xWide = inFloat32(xRows, x.dtype(), wideX, count, width);
          var dyWide = inFloat32(dyRows, x.dtype(), wideDy, count, width);
          var product = products.get(DType.FLOAT32, count, width);
          var coefficient = coefficients.get(DType.FLOAT32, count, 1);
          torch.mul_out(product, dyWide, xWide);
          torch.addmm_out(sums, sums, deviationRow, product);
          torch.mm_out(coefficient, product, scaleColumn);
          coefficient.mul_(deviations);
          coefficient.mul_(deviations);
          coefficient.mul_(deviations);
          coefficient.mul_(context.scalar(-1.0 / width));
          torch.mul_out(product, dyWide, scale);
          product.mul_(deviations);
          product.addcmul_(xWide, coefficient);
          if (accumulateInput) {
            dxRows.add_(product);
          } else {
            dxRows.copy_(product);
          }
        }
      }
    }
    try (var row = sums.squeeze(0)) {
      if (accumulateParameters) {
        context.of(dWeight).add_(row);
      } else {
        context.of(dWeight).copy_(row);
      }
    }
  }

  private static org.bytedeco.pytorch.Tensor inFloat32(
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
}
