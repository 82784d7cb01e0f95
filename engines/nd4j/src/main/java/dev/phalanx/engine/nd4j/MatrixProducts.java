package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.Float32Products;
import dev.phalanx.engine.host.HostTensors;
import dev.phalanx.engine.host.Sgemm;
import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Products of matrices, into where their results belong. */
final class MatrixProducts implements AutoCloseable {
  private final NativeArrays arrays;
  private final Elementwise elementwise;
  private final Float32Products products;
  private final FloatPiece biasRows = new FloatPiece();
  private final FloatScratch gatheredBias = new FloatScratch();

  MatrixProducts(NativeArrays arrays, Elementwise elementwise, Sgemm sgemm) {
    this.arrays = arrays;
    this.elementwise = elementwise;
    this.products = new Float32Products(sgemm, tensor -> elementwise.fill(tensor, 0));
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
    requireFloats("matmul", a, b, out);
    products.matmul(a, transposeA, b, transposeB, out, alpha, accumulate);
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
    requireFloats("batchedMatmul", a, b, out);
    products.batchedMatmul(a, transposeA, b, transposeB, out, alpha, accumulate);
  }

  void linear(
      Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    EngineContract.linear(x, weight, bias, residual, out);
    requireFloats("linear", x, weight, out);
    if (out.elementCount() > 0) {
      products.linear(x, weight, out, start(bias, residual, out));
    }
  }

  private static void requireFloats(String kernel, Tensor... tensors) {
    for (Tensor tensor : tensors) {
      Floats.address(kernel, tensor);
    }
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
    long stride = HostTensors.rowStride(out);
    long addend = contiguous(bias);
    if (residual != null) {
      elementwise.addRow(
          Floats.address("linear", residual),
          HostTensors.rowStride(residual),
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
