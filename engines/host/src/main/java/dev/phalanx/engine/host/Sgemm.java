package dev.phalanx.engine.host;

/**
 * BLAS's product of FLOAT32 matrices, which lie anywhere in memory with any distance between their
 * rows. It computes in the thread that calls; one thread at a time does.
 */
public interface Sgemm extends AutoCloseable {
  /**
   * oneDNN's where it is there and the processor has AVX-512, else OpenBLAS's.
   *
   * @param useOneThread tells OpenMP that the thread which runs this works alone
   */
  static Sgemm open(Runnable useOneThread) {
    Sgemm openBlas = new OpenBlasSgemm();
    return OneDnn.isWorthUsing() ? new OneDnnSgemm(openBlas, useOneThread) : openBlas;
  }

  /** Whose it is, for people. */
  String library();

  /**
   * {@code C [m, n] = alpha A [m, k] B [k, n] + beta C}, by rows; a transposed factor lies as its
   * transpose. With a {@code beta} of 0 C is not read. Distances between rows are in elements.
   */
  void multiply(
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
      long strideOfC);

  @Override
  void close();
}
