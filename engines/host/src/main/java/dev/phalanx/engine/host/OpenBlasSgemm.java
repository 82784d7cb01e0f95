package dev.phalanx.engine.host;

import org.bytedeco.openblas.global.openblas;

/** By OpenBLAS. */
final class OpenBlasSgemm implements Sgemm {
  private final FloatAddress left = new FloatAddress();
  private final FloatAddress right = new FloatAddress();
  private final FloatAddress result = new FloatAddress();

  @Override
  public String library() {
    return "OpenBLAS" + OneDnn.whyNot();
  }

  @Override
  public void multiply(
      boolean transposeA,
      boolean transposeB,
      long m,
      long n,
      long k,
      double alpha,
      long a,
      long strideOfA,
      long b,
      long strideOfB,
      double beta,
      long c,
      long strideOfC) {
    openblas.cblas_sgemm(
        openblas.CblasRowMajor,
        transposeA ? openblas.CblasTrans : openblas.CblasNoTrans,
        transposeB ? openblas.CblasTrans : openblas.CblasNoTrans,
        Math.toIntExact(m),
        Math.toIntExact(n),
        Math.toIntExact(k),
        (float) alpha,
        left.moveTo(a),
        Math.toIntExact(strideOfA),
        right.moveTo(b),
        Math.toIntExact(strideOfB),
        (float) beta,
        result.moveTo(c),
        Math.toIntExact(strideOfC));
  }

  @Override
  public void close() {}
}
