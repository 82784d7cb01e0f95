package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.Arguments;
import dev.phalanx.engine.host.BlasVectors;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.Gemm;
import dev.phalanx.engine.host.HostTensors;
import dev.phalanx.engine.host.ProductForm;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Sums. Single numbers are added up by pieces into a {@code double}, so that their error does not
 * grow with the number of elements.
 */
final class Reductions {
  /** Elements that LibTorch adds up in one piece; it adds in pairs, so the piece may be large. */
  private static final long SUM_PIECE = 1 << 22;

  /** Elements that are widened to another type at once; they stay in the first or second cache. */
  private static final long WIDENED_PIECE = 32 * 1024;

  private static final long[] ALL = {0};

  private final TorchContext context;
  private final Scratch one;
  private final Scratch widened;
  private final Scratch row;
  private final Scratch ones;
  private final Gemm gemm;
  private final BlasVectors blas = new BlasVectors();
  private long oneCount;

  Reductions(TorchContext context, Gemm gemm) {
    this.context = context;
    this.gemm = gemm;
    this.ones = context.scratch();
    this.one = context.scratch();
    this.widened = context.scratch();
    this.row = context.scratch();
  }

  void sum(Tensor x, Tensor out) {
    EngineContract.total("sum", x, out);
    DType sumType =
        switch (x.dtype()) {
          case FLOAT64 -> DType.FLOAT64;
          case FLOAT32, BFLOAT16, FLOAT16 -> DType.FLOAT32;
          case INT32, INT64, UINT8 -> DType.INT64;
        };
    // LibTorch widens a piece of integers as a whole before it adds them up.
    long most = x.dtype().isFloatingPoint() ? SUM_PIECE : WIDENED_PIECE;
    double total = 0;
    for (long start = 0; start < x.elementCount(); start += most) {
      long count = Math.min(most, x.elementCount() - start);
      try (var piece = piece(x, start, count)) {
        var partial = one.get(sumType);
        torch.sum_out(partial, piece, ALL, false, context.type(sumType));
        total += partial.item_double();
      }
    }
    context.of(out).fill_(context.scalar(total));
  }

  void sumRows(Tensor x, Tensor out, boolean accumulate) {
    EngineContract.sumRows(x, out);
    if (x.dtype() == DType.BFLOAT16 && sumRowsByProduct(x, out, accumulate)) {
      return;
    }
    if (accumulate) {
      var sums = row.get(DType.FLOAT32, x.size(1));
      torch.sum_out(sums, context.of(x), ALL, false, context.type(DType.FLOAT32));
      context.of(out).add_(sums);
    } else {
      torch.sum_out(context.of(out), context.of(x), ALL, false, context.type(out.dtype()));
    }
  }

  /**
   * As a row of ones times x: LibTorch widens all of x before it adds up anything.
   *
   * @return whether there is such a product
   */
  private boolean sumRowsByProduct(Tensor x, Tensor out, boolean accumulate) {
    long rows = x.size(0);
    long columns = x.size(1);
    ProductForm form =
        new ProductForm(
            1,
            columns,
            rows,
            new ProductForm.Factor(x.dtype(), false, rows),
            new ProductForm.Factor(x.dtype(), false, columns),
            new ProductForm.Result(out.dtype(), columns, 1, accumulate, false));
    if (!gemm.multiplies(form)) {
      return false;
    }
    context.of(x);
    long present = oneCount;
    oneCount = 0; // should there be no memory
    var rowOfOnes = ones.get(x.dtype(), rows);
    if (present != rows) {
      rowOfOnes.fill_(context.scalar(1));
    }
    oneCount = rows;
    gemm.multiply(
        form,
        rowOfOnes.data_ptr().address(),
        HostTensors.open(x).address(),
        HostTensors.open(out).address());
    return true;
  }

  void squaredNorm(Tensor x, Tensor out) {
    Arguments.floating("squaredNorm", x);
    EngineContract.total("squaredNorm", x, out);
    double total;
    if (x.dtype() == DType.FLOAT32) {
      context.of(x);
      total = blas.squares(x.address(), x.elementCount());
    } else {
      total = 0;
      for (long start = 0; start < x.elementCount(); start += WIDENED_PIECE) {
        long count = Math.min(WIDENED_PIECE, x.elementCount() - start);
        var copy = widened.get(DType.FLOAT32, count);
        try (var piece = piece(x, start, count)) {
          copy.copy_(piece);
        }
        total += blas.squares(copy.data_ptr().address(), count);
      }
    }
    context.of(out).fill_(context.scalar(total));
  }

  /** The smallest and the largest element tell: infinities are one of them, NaN becomes both. */
  boolean allFinite(Tensor x) {
    Arguments.onCpu("allFinite", x);
    Arguments.contiguous("allFinite", x);
    if (!x.dtype().isFloatingPoint() || x.elementCount() == 0) {
      return true;
    }
    try (var flat = context.of(x).view(-1);
        var extremes = torch.aminmax(flat);
        var smallest = extremes.get0();
        var largest = extremes.get1()) {
      return Double.isFinite(smallest.item_double()) && Double.isFinite(largest.item_double());
    }
  }

  private org.bytedeco.pytorch.Tensor piece(Tensor x, long start, long count) {
    context.of(x);
    return context.blob(x.address() + x.dtype().bytes(start), x.dtype(), count);
  }
}
