package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.Gemm;
import dev.phalanx.engine.host.ProductForm;
import dev.phalanx.tensor.DType;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Products of FLOAT16 or BFLOAT16 matrices by those of FLOAT32. LibTorch's own ones are plain loops
 * on a CPU with neither instructions for them nor AVX-512, some tens of times as slow, and keep
 * some sums in half the width. Both factors are widened by blocks, each as it lies, so that the
 * memory for it does not grow with the matrices; only the result is rounded.
 */
final class WidenedProducts {
  /** Elements of the right factor that are widened at once. */
  private static final long RIGHT_ELEMENTS = 4 << 20;

  /** Elements of the left factor, and of the product. */
  private static final long LEFT_ELEMENTS = 512 << 10;

  /** Fewer rows make slow products. */
  private static final long FEWEST = 16;

  /**
   * A block of a factor in FLOAT32.
   *
   * @param distance elements between rows as they lie
   * @param isTransposed whether what lies there is the block's transpose
   */
  private record Wide(long address, long distance, boolean isTransposed) {
    ProductForm.Factor factor() {
      return new ProductForm.Factor(DType.FLOAT32, isTransposed, distance);
    }
  }

  private final Gemm gemm;
  private final Scratch wideLeft;
  private final Scratch wideRight;
  private final Scratch products;

  WidenedProducts(TorchContext context, Gemm gemm) {
    this.gemm = gemm;
    this.wideLeft = context.scratch();
    this.wideRight = context.scratch();
    this.products = context.scratch();
  }

  /**
   * {@code out = alpha * left * right + bias + start}.
   *
   * @param left [m, k], half the width of FLOAT32
   * @param right [k, n], likewise
   * @param bias [n]; null: none
   * @param start [m, n], of {@code out}'s type; may be {@code out}; null: nothing
   * @param out [m, n], of the factors' type or FLOAT32, its rows in one piece each
   */
  void multiply(
      Tensor left,
      Tensor right,
      double alpha,
      @Nullable Tensor bias,
      @Nullable Tensor start,
      Tensor out) {
    long rows = out.size(0);
    long columns = out.size(1);
    long inner = left.size(1);
    if (inner == 0) { // LibTorch has no memory for such factors
      if (!begin(out, bias, start, 0, 0)) {
        out.zero_();
      }
      return;
    }
    boolean isWide = out.element_size() == Float.BYTES;
    long columnsAtOnce = Math.min(columns, atLeast(RIGHT_ELEMENTS / inner));
    long rowsAtOnce = Math.min(rows, atLeast(LEFT_ELEMENTS / Math.max(inner, columnsAtOnce)));
    for (long column = 0; column < columns; column += columnsAtOnce) {
      long width = Math.min(columnsAtOnce, columns - column);
      Wide rightBlock;
      try (var some = right.narrow(1, column, width)) {
        rightBlock = widen(some, wideRight);
      }
      for (long row = 0; row < rows; row += rowsAtOnce) {
        long height = Math.min(rowsAtOnce, rows - row);
        Wide leftBlock;
        try (var some = left.narrow(0, row, height)) {
          leftBlock = widen(some, wideLeft);
        }
        try (var outRows = out.narrow(0, row, height);
            var outBlock = outRows.narrow(1, column, width)) {
          Tensor sum = isWide ? outBlock : products.get(DType.FLOAT32, height, width);
          boolean isBegun = begin(sum, bias, start, row, column);
          gemm.multiply(
              new ProductForm(
                  height,
                  width,
                  inner,
                  leftBlock.factor(),
                  rightBlock.factor(),
                  new ProductForm.Result(
                      DType.FLOAT32,
                      Math.max(width, sum.stride(0)), // of a single row it may be anything
                      (float) alpha,
                      isBegun,
                      false)),
              leftBlock.address(),
              rightBlock.address(),
              sum.data_ptr().address());
          if (!isWide) {
            outBlock.copy_(sum);
          }
        }
      }
    }
  }

  private static long atLeast(long count) {
    return Math.max(FEWEST, count);
  }

  /** A block of a factor whose rows or columns lie in one piece each. */
  private static Wide widen(Tensor block, Scratch memory) {
    boolean isTransposed = block.stride(1) != 1;
    long lyingRows = block.size(isTransposed ? 1 : 0);
    long distance = block.size(isTransposed ? 0 : 1);
    var wide = memory.get(DType.FLOAT32, lyingRows, distance);
    if (isTransposed) {
      try (var lying = block.t()) {
        wide.copy_(lying);
      }
    } else {
      wide.copy_(block);
    }
    return new Wide(wide.data_ptr().address(), distance, isTransposed);
  }

  /** Puts there what the product is added to; whether that is anything. */
  private static boolean begin(
      Tensor sum, @Nullable Tensor bias, @Nullable Tensor start, long firstRow, long firstColumn) {
    if (start != null) {
      try (var rows = start.narrow(0, firstRow, sum.size(0));
          var some = rows.narrow(1, firstColumn, sum.size(1))) {
        if (some.data_ptr().address() != sum.data_ptr().address()) {
          sum.copy_(some);
        }
      }
    }
    if (bias != null) {
      try (var some = bias.narrow(0, firstColumn, sum.size(1))) {
        if (start == null) {
          sum.copy_(some);
        } else {
          sum.add_(some);
        }
      }
    }
    return start != null || bias != null;
  }
}
