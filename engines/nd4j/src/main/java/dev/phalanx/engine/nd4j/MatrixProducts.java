package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.BlasProducts;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Products of matrices by OpenBLAS, which ND4J calls as well, into where their results belong. */
final class MatrixProducts implements AutoCloseable {
  private final NativeArrays arrays;
  private final Elementwise elementwise;
  private final BlasProducts blas = new BlasProducts();
  private final FloatPiece biasRows = new FloatPiece();
  private final FloatScratch gatheredBias = new FloatScratch();

  MatrixProducts(NativeArrays arrays, Elementwise elementwise) {
    this.arrays = arrays;
    this.elementwise = elementwise;
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
    long left = Floats.address("matmul", a);
    long right = Floats.address("matmul", b);
    long result = Floats.address("matmul", out);
    long inner = a.size(transposeA ? 0 : 1);
    if (isNothingToMultiply(inner, out, accumulate)) {
      return;
    }
    blas.multiply(
        transposeA,
        transposeB,
        out.size(0),
        out.size(1),
        inner,
        alpha,
        left,
        Floats.rowStride(a),
        right,
        Floats.rowStride(b),
        accumulate ? 1 : 0,
        result,
        Floats.rowStride(out));
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
    long left = Floats.address("batchedMatmul", a);
    long right = Floats.address("batchedMatmul", b);
    long result = Floats.address("batchedMatmul", out);
    long inner = a.size(transposeA ? 1 : 2);
    if (isNothingToMultiply(inner, out, accumulate)) {
      return;
    }
    for (long entry = 0; entry < out.size(0); entry++) {
      blas.multiply(
          transposeA,
          transposeB,
          out.size(1),
          out.size(2),
          inner,
          alpha,
          Floats.at(left, entry * a.size(1) * a.size(2)),
          a.size(2),
          Floats.at(right, entry * b.size(1) * b.size(2)),
          b.size(2),
          accumulate ? 1 : 0,
          Floats.at(result, entry * out.size(1) * out.size(2)),
          out.size(2));
    }
  }

  /** Sets a product of nothing to zero. */
  private boolean isNothingToMultiply(long inner, Tensor out, boolean accumulate) {
    if (inner == 0 && !accumulate) {
      elementwise.fill(out, 0);
    }
    return inner == 0 || out.elementCount() == 0;
  }

  void linear(
      Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    EngineContract.linear(x, weight, bias, residual, out);
    long from = Floats.address("linear", x);
    long factor = Floats.address("linear", weight);
    long result = Floats.address("linear", out);
    if (out.elementCount() == 0) {
      return;
    }
    boolean hasStart = start(bias, residual, out);
    if (isNothingToMultiply(x.size(1), out, hasStart)) {
      return;
    }
    blas.multiply(
        false,
        true,
        out.size(0),
        out.size(1),
        x.size(1),
        1,
        from,
        Floats.rowStride(x),
        factor,
        Floats.rowStride(weight),
        hasStart ? 1 : 0,
        result,
        Floats.rowStride(out));
  }

  /**
   * Sets {@code out} to what the product is added to.
   *
   * @return whether there is anything
   */
  private boolean start(@Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    if (bias == null) {
      if (residual != null && residual.address() != out.address()) {
        elementwise.copy(residual, out);
      }
      return residual != null;
    }
    int width = Math.toIntExact(out.size(1));
    long stride = Floats.rowStride(out);
    long addend = contiguous(bias);
    if (residual != null) {
      elementwise.addRow(
          Floats.address("linear", residual),
          Floats.rowStride(residual),
          addend,
          out.size(0),
          width,
          out.address(),
          stride);
      return true;
    }
    int most = (int) Math.min(out.size(0), FloatPiece.rowsOf(width));
    biasRows.tile(addend, width, most);
    for (long done = 0; done < out.size(0); done += most) {
      int count = (int) Math.min(most, out.size(0) - done);
      biasRows.writeRows(Floats.at(out.address(), done * stride), count, width, stride);
    }
    return true;
  }

  /** Where a vector lies, or a copy of it without gaps. */
  private long contiguous(Tensor vector) {
    long address = Floats.address("linear", vector);
    if (vector.isContiguous()) {
      return address;
    }
    long copy = gatheredBias.get(vector.size(0));
    arrays.gather(vector, copy);
    return copy;
  }

  @Override
  public void close() {
    gatheredBias.close();
  }
}
