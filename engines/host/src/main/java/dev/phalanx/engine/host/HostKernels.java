package dev.phalanx.engine.host;

import org.jspecify.annotations.Nullable;

/**
 * What every engine on the CPU computes by the same libraries: products of matrices, and GELU where
 * oneDNN gains. One engine's; one thread at a time computes.
 */
public final class HostKernels implements AutoCloseable {
  private final @Nullable OneDnn oneDnn;
  private final Gemm gemm;
  private final FasterGelu gelu;

  /**
   * oneDNN's products where it is there and the processor has AVX-512, else OpenBLAS's.
   *
   * @param useOneThread tells OpenMP that the thread which runs this works alone
   * @param multipliesBfloat16 whether products of BFLOAT16 are wanted
   */
  public HostKernels(Runnable useOneThread, boolean multipliesBfloat16) {
    Gemm openBlas = new OpenBlasGemm();
    this.oneDnn = OneDnn.isWorthUsing() ? new OneDnn(useOneThread) : null;
    this.gemm = oneDnn == null ? openBlas : new OneDnnGemm(openBlas, oneDnn, multipliesBfloat16);
    this.gelu = new FasterGelu(oneDnn);
  }

  public Gemm gemm() {
    return gemm;
  }

  public FasterGelu gelu() {
    return gelu;
  }

  @Override
  public void close() {
    gelu.close();
    gemm.close();
    if (oneDnn != null) {
      oneDnn.close();
    }
  }
}
