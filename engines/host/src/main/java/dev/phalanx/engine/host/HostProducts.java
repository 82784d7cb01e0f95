package dev.phalanx.engine.host;

import dev.phalanx.tensor.Tensor;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Products of tensors by {@link Gemm}, each read and written where it lies. Whoever calls has
 * checked what it was given by {@link EngineContract}. What returns false has done nothing, for a
 * {@link Gemm} does not know that form; of FLOAT32 it knows all.
 */
public final class HostProducts {
  private final Gemm gemm;
  private final Consumer<Tensor> zero;
  private final BiConsumer<Tensor, Tensor> copy;

  /**
   * @param zero sets a tensor to zero
   * @param copy sets the second tensor to the first
   */
  public HostProducts(Gemm gemm, Consumer<Tensor> zero, BiConsumer<Tensor, Tensor> copy) {
    this.gemm = gemm;
    this.zero = zero;
    this.copy = copy;
  }

  /**
   * {@link dev.phalanx.tensor.Engine#matmul} of matrices, {@link
   * dev.phalanx.tensor.Engine#batchedMatmul} of batches of them.
   */
  public boolean matmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate) {
    ProductForm form =
        form(
            a,
            transposeA,
            b,
            transposeB,
            new ProductForm.Result(
                out.dtype(), HostTensors.rowStride(out), (float) alpha, accumulate, false));
    if (!gemm.multiplies(form)) {
      return false;
    }
    if (isNothingToMultiply(form, out)) {
      return true;
    }
    long left = address(a);
    long right = address(b);
    long result = address(out);
    long entries = out.shape().rank() == 3 ? out.size(0) : 1;
    for (long entry = 0; entry < entries; entry++) {
      gemm.multiply(
          form,
          left + a.dtype().bytes(entry * form.m() * form.k()),
          right + b.dtype().bytes(entry * form.k() * form.n()),
          result + out.dtype().bytes(entry * form.m() * form.n()));
    }
    return true;
  }

  /** {@link dev.phalanx.tensor.Engine#linear}. */
  public boolean linear(
      Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    ProductForm form =
        form(
            x,
            false,
            weight,
            true,
            new ProductForm.Result(
                out.dtype(), HostTensors.rowStride(out), 1, residual != null, bias != null));
    if (!gemm.multiplies(form)) {
      return false;
    }
    if (residual != null && residual.address() != out.address()) {
      copy.accept(residual, out);
    }
    if (!isNothingToMultiply(form, out)) {
      gemm.multiply(
          form, address(x), address(weight), bias == null ? 0 : address(bias), address(out));
    }
    return true;
  }

  /** The form of matrices, or of batches of them. */
  private static ProductForm form(
      Tensor a, boolean transposeA, Tensor b, boolean transposeB, ProductForm.Result result) {
    return new ProductForm(
        a.size(transposeA ? -1 : -2),
        b.size(transposeB ? -2 : -1),
        a.size(transposeA ? -2 : -1),
        new ProductForm.Factor(a.dtype(), transposeA, HostTensors.rowStride(a)),
        new ProductForm.Factor(b.dtype(), transposeB, HostTensors.rowStride(b)),
        result);
  }

  /** Sets a product of nothing to zero. */
  private boolean isNothingToMultiply(ProductForm form, Tensor out) {
    ProductForm.Result to = form.result();
    boolean isZero = form.k() == 0 && !to.hasBias();
    if (isZero && !to.isAdded()) {
      zero.accept(out);
    }
    return isZero || out.elementCount() == 0;
  }

  private static long address(Tensor tensor) {
    return HostTensors.open(tensor).address();
  }
}
