package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.Float32Products;
import dev.phalanx.engine.host.Sgemm;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * Products of matrices, transposed ones read where they lie: FLOAT32 by {@link Sgemm}, BFLOAT16 by
 * LibTorch where the processor has instructions for it, FLOAT16 and other BFLOAT16 widened.
 */
final class MatrixProducts {
  /** Elements of the product kept between a BFLOAT16 product and its sum into FLOAT32. */
  private static final long NARROW_ELEMENTS = 2 << 20;

  private final TorchContext context;
  private final Scratch narrow;
  private final WidenedProducts widened;
  private final Float32Products products;
  private final boolean multipliesBfloat16;

  /**
   * @param multipliesBfloat16 whether the processor does, and BFLOAT16 is LibTorch's matter
   */
  MatrixProducts(TorchContext context, Sgemm sgemm, boolean multipliesBfloat16) {
    this.context = context;
    this.narrow = context.scratch();
    this.widened = new WidenedProducts(context, sgemm);
    this.products = new Float32Products(sgemm, tensor -> context.of(tensor).zero_());
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
    if (a.dtype() == DType.FLOAT32) {
      products.matmul(a, transposeA, b, transposeB, out, alpha, accumulate);
      return;
    }
    if (out.elementCount() == 0) {
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
    if (a.dtype() == DType.FLOAT32) {
      products.batchedMatmul(a, transposeA, b, transposeB, out, alpha, accumulate);
      return;
    }
    if (out.elementCount() == 0) {
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
    if (out.elementCount() == 0) {
      return;
    }
    if (x.dtype() == DType.FLOAT32) {
      products.linear(x, weight, out, start(bias, residual, out));
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
      start(bias, residual, out);
      torch.addmm_out(product, product, context.of(x), factor);
    } else if (bias != null) {
      torch.addmm_out(product, context.of(bias), context.of(x), factor);
    } else {
      torch.mm_out(product, context.of(x), factor);
    }
  }

  /**
   * Sets {@code out} to what the product is added to.
   *
   * @return whether there is anything
   */
  private boolean start(@Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    if (residual == null) {
      if (bias != null) {
        context.of(out).copy_(context.of(bias));
      }
      return bias != null;
    }
    boolean inPlace = residual.address() == out.address();
    if (bias == null) {
      if (!inPlace) {
        context.of(out).copy_(context.of(residual));
      }
    } else if (inPlace) {
      context.of(out).add_(context.of(bias));
    } else {
      torch.add_out(context.of(out), context.of(residual), context.of(bias));
    }
    return true;
  }
}
