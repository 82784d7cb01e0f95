package dev.phalanx.engine.host;

/**
 * A library's products of matrices, which lie anywhere in memory. It computes in the thread that
 * calls; one thread at a time does.
 */
public interface Gemm extends AutoCloseable {
  /** Whose it is, for people. */
  String library();

  /**
   * Whether {@link #multiply} knows this form: any of FLOAT32, of BFLOAT16 those that are worth a
   * kernel of oneDNN's, if it has one, which is made here and now. It depends on the form and the
   * machine alone.
   */
  boolean multiplies(ProductForm form);

  /**
   * Multiplies.
   *
   * @param bias where it lies, without gaps; not read where the form has none
   */
  void multiply(ProductForm form, long a, long b, long bias, long c);

  /** Without a bias. */
  default void multiply(ProductForm form, long a, long b, long c) {
    multiply(form, a, b, 0, c);
  }

  @Override
  void close();
}
