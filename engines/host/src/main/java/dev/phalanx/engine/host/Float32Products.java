package dev.phalanx.engine.host;

import dev.phalanx.tensor.Tensor;
import java.util.function.Consumer;

/**
 * Products of FLOAT32 tensors, each read and written where it lies. Whoever calls has checked what
 * it was given by {@link EngineContract}.
 */
public final class Float32Products {
  private final Sgemm sgemm;
  private final Consumer<Tensor> zero;

  /**
   * @param zero sets a tensor to zero
   */
  public Float32Products(Sgemm sgemm, Consumer<Tensor> zero) {
    this.sgemm = sgemm;
    this.zero = zero;
  }

  /** {@link dev.phalanx.tensor.Engine#matmul}. */
  public void matmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate) {
    long inner = a.size(transposeA ? 0 : 1);
    if (isNothingToMultiply(inner, out, accumulate)) {
      return;
    }
    sgemm.multiply(
        transposeA,
        transposeB,
        out.size(0),
        out.size(1),
        inner,
        alpha,
        address(a),
        HostTensors.rowStride(a),
        address(b),
        HostTensors.rowStride(b),
        accumulate ? 1 : 0,
        address(out),
        HostTensors.rowStride(out));
  }

  /** {@link dev.phalanx.tensor.Engine#batchedMatmul}. */
  public void batchedMatmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate) {
    long inner = a.size(transposeA ? 1 : 2);
    if (isNothingToMultiply(inner, out, accumulate)) {
      return;
    }
    long left = address(a);
    long right = address(b);
    long result = address(out);
    for (long entry = 0; entry < out.size(0); entry++) {
      sgemm.multiply(
          transposeA,
          transposeB,
          out.size(1),
          out.size(2),
          inner,
          alpha,
          left + Float.BYTES * entry * a.size(1) * a.size(2),
          a.size(2),
          right + Float.BYTES * entry * b.size(1) * b.size(2),
          b.size(2),
          accumulate ? 1 : 0,
          result + Float.BYTES * entry * out.size(1) * out.size(2),
          out.size(2));
    }
  }

  /**
   * {@code out = x weight^T}, or added to what is there.
   *
   * @param x [n, in]
   * @param weight [out, in]
   * @param out [n, out]
   */
  public void linear(Tensor x, Tensor weight, Tensor out, boolean accumulate) {
    matmul(x, false, weight, true, out, 1, accumulate);
  }

  /** Sets a product of nothing to zero. */
  private boolean isNothingToMultiply(long inner, Tensor out, boolean accumulate) {
    if (inner == 0 && !accumulate) {
      zero.accept(out);
    }
    return inner == 0 || out.elementCount() == 0;
  }

  private static long address(Tensor tensor) {
    return HostTensors.open(tensor).address();
  }
}
