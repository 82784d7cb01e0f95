package dev.phalanx.engine.nd4j;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.Gemm;
import dev.phalanx.engine.host.HostProducts;
import dev.phalanx.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Products of matrices of FLOAT32, into where their results belong. */
final class MatrixProducts {
  private final HostProducts products;

  MatrixProducts(Elementwise elementwise, Gemm gemm) {
    this.products =
        new HostProducts(gemm, tensor -> elementwise.fill(tensor, 0), elementwise::copy);
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
    products.matmul(a, transposeA, b, transposeB, out, alpha, accumulate);
  }

  void linear(
      Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    EngineContract.linear(x, weight, bias, residual, out);
    requireFloats("linear", x, weight, out);
    products.linear(x, weight, bias, residual, out);
  }

  private static void requireFloats(String kernel, Tensor... tensors) {
    for (Tensor tensor : tensors) {
      Floats.address(kernel, tensor);
    }
  }
}
