package dev.phalanx.engine.host;

import dev.phalanx.tensor.DType;
import org.bytedeco.openblas.global.openblas;

/** By OpenBLAS, which knows products of FLOAT32. */
final class OpenBlasGemm implements Gemm {
  private final FloatAddress left = new FloatAddress();
  private final FloatAddress right = new FloatAddress();
  private final FloatAddress result = new FloatAddress();

  @Override
  public String library() {
    return "OpenBLAS" + OneDnn.whyNot();
  }

  @Override
  public boolean multiplies(ProductForm form) {
    return form.factors() == DType.FLOAT32;
  }

  @Override
  public void multiply(ProductForm form, long a, long b, long bias, long c) {
    if (!multiplies(form)) {
      throw new IllegalArgumentException("OpenBLAS has no product of this form: " + form);
    }
    ProductForm.Result to = form.result();
    if (to.hasBias()) {
      addBias(form, bias, c);
    }
    openblas.cblas_sgemm(
        openblas.CblasRowMajor,
        form.left().isTransposed() ? openblas.CblasTrans : openblas.CblasNoTrans,
        form.right().isTransposed() ? openblas.CblasTrans : openblas.CblasNoTrans,
        Math.toIntExact(form.m()),
        Math.toIntExact(form.n()),
        Math.toIntExact(form.k()),
        to.scale(),
        left.moveTo(a),
        Math.toIntExact(form.left().stride()),
        right.moveTo(b),
        Math.toIntExact(form.right().stride()),
        to.isAdded() || to.hasBias() ? 1 : 0,
        result.moveTo(c),
        Math.toIntExact(to.stride()));
  }

  private void addBias(ProductForm form, long bias, long c) {
    int width = Math.toIntExact(form.n());
    left.moveTo(bias);
    for (long row = 0; row < form.m(); row++) {
      result.moveTo(c + Float.BYTES * row * form.result().stride());
      if (form.result().isAdded()) {
        openblas.cblas_saxpy(width, 1, left, 1, result, 1);
      } else {
        openblas.cblas_scopy(width, left, 1, result, 1);
      }
    }
  }

  @Override
  public void close() {}
}
