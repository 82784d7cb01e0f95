package dev.phalanx.engine.host;

import dev.phalanx.tensor.DType;

/**
 * All that a product of matrices is but for where they lie: {@code C [m, n] = scale A [m, k] B [k,
 * n]}, to which a bias of n numbers, and what C was, may be added. Matrices lie by rows; distances
 * between rows are in elements.
 */
public record ProductForm(long m, long n, long k, Factor left, Factor right, Result result) {
  /**
   * @param type of both factors alike
   * @param isTransposed whether what lies there is the factor's transpose
   * @param stride between the rows that lie there
   */
  public record Factor(DType type, boolean isTransposed, long stride) {
    public Factor {
      stride = Math.max(1, stride); // of rows of nothing it may be anything
    }
  }

  /**
   * @param type the factors' or FLOAT32, in which all is added up
   * @param isAdded whether the product is added to what is there; else that is not read
   * @param hasBias whether a bias of the factors' type is added to each row
   */
  public record Result(DType type, long stride, float scale, boolean isAdded, boolean hasBias) {
    public Result {
      if (hasBias && scale != 1) {
        throw new IllegalArgumentException("a product with a bias is not scaled by " + scale);
      }
    }
  }

  public ProductForm {
    if (left.type != right.type || (result.type != left.type && result.type != DType.FLOAT32)) {
      throw new IllegalArgumentException(
          "a product of %s by %s into %s".formatted(left.type, right.type, result.type));
    }
  }

  DType factors() {
    return left.type;
  }

  long multiplications() {
    return m * n * k;
  }
}
