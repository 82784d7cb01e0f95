package dev.phalanx.engine.torch;

import dev.phalanx.tensor.DType;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * Products of FLOAT16 matrices by those of FLOAT32. LibTorch's own ones are plain loops on a CPU
 * without instructions for them, some hundred times as slow, and keep some sums in FLOAT16. Both
 * factors are widened by blocks, so that the memory for it does not grow with the matrices, and
 * only the result is rounded.
 */
final class WidenedProducts {
  /** Elements of the right factor that are widened at once. */
  private static final long RIGHT_ELEMENTS = 4 << 20;

  /** Elements of the left factor, and of the product. */
  private static final long LEFT_ELEMENTS = 512 << 10;

  /** Fewer rows make slow products. */
  private static final long FEWEST = 16;

  /** What becomes of a block of the product. */
  private interface Destination {
    void store(Tensor product, Tensor outBlock, long firstRow, long firstColumn);
  }

  private final TorchContext context;
  private final Scratch wideLeft;
  private final Scratch wideRight;
  private final Scratch products;

  WidenedProducts(TorchContext context) {
    this.context = context;
    this.wideLeft = context.scratch();
    this.wideRight = context.scratch();
    this.products = context.scratch();
  }

  /**
   * {@code out = alpha * left * right + (accumulate ? out : 0)}.
   *
   * @param left [m, k] FLOAT16
   * @param right [k, n] FLOAT16
   * @param out [m, n] FLOAT16 or FLOAT32
   */
  void multiply(Tensor left, Tensor right, Tensor out, double alpha, boolean accumulate) {
    byBlocks(
        left,
        right,
        out,
        (product, outBlock, firstRow, firstColumn) -> {
          if (alpha != 1) {
            product.mul_(context.scalar(alpha));
          }
          if (accumulate) {
            outBlock.add_(product);
          } else {
            outBlock.copy_(product);
          }
        });
  }

  /** {@code out = left * right + bias + residual}; {@code residual} may be {@code out}. */
  void linear(
      Tensor left, Tensor right, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    byBlocks(
        left,
        right,
        out,
        (product, outBlock, firstRow, firstColumn) -> {
          if (bias != null) {
            try (var some = bias.narrow(0, firstColumn, product.size(1))) {
              product.add_(some);
            }
          }
          if (residual != null) {
            try (var rows = residual.narrow(0, firstRow, product.size(0));
                var some = rows.narrow(1, firstColumn, product.size(1))) {
              product.add_(some);
            }
          }
          outBlock.copy_(product);
        });
  }

  private void byBlocks(Tensor left, Tensor right, Tensor out, Destination destination) {
    long rows = out.size(0);
    long columns = out.size(1);
    long inner = left.size(1);
    long columnsAtOnce = Math.min(columns, atLeast(RIGHT_ELEMENTS / Math.max(1, inner)));
    long rowsAtOnce =
        Math.min(rows, atLeast(LEFT_ELEMENTS / Math.max(1, Math.max(inner, columnsAtOnce))));
    for (long column = 0; column < columns; column += columnsAtOnce) {
      long width = Math.min(columnsAtOnce, columns - column);
      var rightBlock = wideRight.get(DType.FLOAT32, inner, width);
      try (var some = right.narrow(1, column, width)) {
        rightBlock.copy_(some);
      }
      for (long row = 0; row < rows; row += rowsAtOnce) {
        long height = Math.min(rowsAtOnce, rows - row);
        var leftBlock = wideLeft.get(DType.FLOAT32, height, inner);
        var product = products.get(DType.FLOAT32, height, width);
        try (var some = left.narrow(0, row, height);
            var outRows = out.narrow(0, row, height);
            var outBlock = outRows.narrow(1, column, width)) {
          leftBlock.copy_(some);
          torch.mm_out(product, leftBlock, rightBlock);
          destination.store(product, outBlock, row, column);
        }
      }
    }
  }

  private static long atLeast(long count) {
    return Math.max(FEWEST, count);
  }
}
