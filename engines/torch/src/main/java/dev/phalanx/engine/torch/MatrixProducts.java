package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.Gemm;
import dev.phalanx.engine.host.HostProducts;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * Products of matrices, transposed ones read where they lie: by {@link HostProducts} where they
 * know the form, as any of FLOAT32; other ones of BFLOAT16 by LibTorch where the processor has
 * instructions for it; FLOAT16 and what is left of BFLOAT16 widened.
 */
final class MatrixProducts {
  /** Elements of the product kept between a BFLOAT16 product and its sum into FLOAT32. */
  private static final long NARROW_ELEMENTS = 2 << 20;

  private final TorchContext context;
  private final Scratch narrow;
  private final WidenedProducts widened;
  private final HostProducts products;
  private final boolean multipliesBfloat16;

  /**
   * @param multipliesBfloat16 whether the processor does; else BFLOAT16 is widened
   */
  MatrixProducts(TorchContext context, Gemm gemm, boolean multipliesBfloat16) {
    this.context = context;
    this.narrow = context.scratch();
    this.widened = new WidenedProducts(context, gemm);
    this.products =
        new HostProducts(
            gemm,
            tensor -> context.of(tensor).zero_(),
            (source, destination) -> context.of(destination).copy_(context.of(source)));
    this.multipliesBfloat16 = multipliesBfloat16;
  }

  private boolean isWidened(DType factors) {
    return factors == DType.FLOAT16 || (factors == DType.BFLOAT16 && !multipliesBfloat16);
  }

  void matmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate) {
    EngineContract.matmul(a, transposeA, b, transposeB, out);
    if (products.matmul(a, transposeA, b, transposeB, out, alpha, accumulate)
        || out.elementCount() == 0) {
      return;
    }
    var left = transposeA ? context.transposed(a) : context.of(a);
    var right = transposeB ? context.transposed(b) : context.of(b);
    if (isWidened(a.dtype())) {
      var sum = context.of(out);
      widened.multiply(left, right, alpha, null, accumulate ? sum : null, sum);
    } else if (out.dtype() != a.dtype()) {
      widenedMatmul(left, right, out, alpha, accumulate);
    } else if (accumulate || alpha != 1) {
      var sum = context.of(out);
      torch.addmm_out(
          sum, sum, left, right, context.scalar(accumulate ? 1 : 0), context.scalar(alpha));
    } else {
      torch.mm_out(context.of(out), left, right);
    }
  }

  /**
   * LibTorch has no product of BFLOAT16 matrices into FLOAT32 on the CPU: the product, summed in
   * FLOAT32 but rounded once to BFLOAT16, goes by rows through a piece of memory that stays in
   * cache.
   */
  private void widenedMatmul(
      org.bytedeco.pytorch.Tensor left,
      org.bytedeco.pytorch.Tensor right,
      Tensor out,
      double alpha,
      boolean accumulate) {
    long rows = out.size(0);
    long columns = out.size(1);
    long chunk = Math.min(rows, Math.max(64, NARROW_ELEMENTS / columns));
    for (long start = 0; start < rows; start += chunk) {
      long count = Math.min(chunk, rows - start);
      var product = narrow.get(DType.BFLOAT16, count, columns);
      try (var leftRows = left.narrow(0, start, count);
          var outRows = context.of(out).narrow(0, start, count)) {
        torch.mm_out(product, leftRows, right);
        if (accumulate) {
          outRows.add_(product, context.scalar(alpha));
        } else {
          outRows.copy_(product);
          if (alpha != 1) {
            outRows.mul_(context.scalar(alpha));
          }
        }
      }
    }
  }

  void batchedMatmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate) {
    EngineContract.batchedMatmul(a, transposeA, b, transposeB, out);
    if (products.matmul(a, transposeA, b, transposeB, out, alpha, accumulate)
        || out.elementCount() == 0) {
      return;
    }
    var left = transposeA ? context.transposed(a) : context.of(a);
    var right = transposeB ? context.transposed(b) : context.of(b);
    var product = context.of(out);
    if (isWidened(a.dtype())) {
      for (long entry = 0; entry < out.size(0); entry++) {
        try (var leftEntry = left.select(0, entry);
            var rightEntry = right.select(0, entry);
            var outEntry = product.select(0, entry)) {
          widened.multiply(
              leftEntry, rightEntry, alpha, null, accumulate ? outEntry : null, outEntry);
        }
      }
    } else if (accumulate || alpha != 1) {
      if (!accumulate) {
        product.zero_();
      }
      torch.baddbmm_out(product, product, left, right, context.scalar(1), context.scalar(alpha));
    } else {
      torch.bmm_out(product, left, right);
    }
  }

  void linear(
      Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    EngineContract.linear(x, weight, bias, residual, out);
    if (out.elementCount() == 0 || products.linear(x, weight, bias, residual, out)) {
      return;
    }
    var product = context.of(out);
    var factor = context.transposed(weight);
    if (isWidened(x.dtype())) {
      widened.multiply(
          context.of(x),
          factor,
          1,
          bias == null ? null : context.of(bias),
          residual == null ? null : context.of(residual),
          product);
    } else if (residual != null) {
      if (residual.address() != out.address()) {
        product.copy_(context.of(residual));
      }
      torch.addmm_out(product, product, context.of(x), factor);
      if (bias != null) {
        product.add_(context.of(bias));
      }
    } else if (bias != null) {
      torch.addmm_out(product, context.of(bias), context.of(x), factor);
    } else {
      torch.mm_out(product, context.of(x), factor);
    }
  }
}
