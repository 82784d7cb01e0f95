package dev.phalanx.engine.host;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.BytePointer;
import org.jspecify.annotations.Nullable;

/**
 * Products by oneDNN, which makes a kernel for the form of each: with AVX-512 they reach some
 * ninety per cent of the processor's peak where OpenBLAS reaches eighty; with narrower vectors both
 * are alike. To make a kernel takes half a millisecond and some hundred kilobytes, so products that
 * are small or seldom twice of one form stay with OpenBLAS; which these are follows from the form
 * alone, so that a job that goes on computes what one without a pause would have.
 *
 * <p>These are oneDNN's {@code matmul} primitives. Its {@code dnnl_sgemm} has a kernel that uses
 * the stack pointer as an address of its working memory: a signal at that moment, as profilers send
 * them, writes its frame into the heap (seen with 3.11 and Java's Flight Recorder).
 */
final class OneDnnSgemm implements Sgemm {
  /** Sizes of a model are its multiples; numbers of rows that change at every step are not. */
  private static final long WHOLE = 64;

  /** Multiplications of a product that lasts twenty times as long as its kernel takes to make. */
  private static final long LONG_PRODUCT = 1L << 29;

  /** Multiplications of a product that is too small to gain: a block of attention to 256 keys. */
  private static final long SMALL_PRODUCT = 1L << 20;

  /** oneDNN keeps kernels that were closed for a while, for all of the process. */
  private static final int KEPT_PRODUCTS = 256;

  private final Sgemm others;
  private final OneDnn library;
  private final long smallProduct;
  private final long longProduct;
  private final Map<OneDnnProduct.Form, Optional<OneDnnProduct>> products =
      new LinkedHashMap<>(64, 0.75f, true);
  private final FloatAddress left = new FloatAddress();
  private final FloatAddress right = new FloatAddress();
  private final FloatAddress result = new FloatAddress();
  private final FloatAddress scratch = new FloatAddress();
  private @Nullable BytePointer scratchMemory;

  /**
   * @param others for products that are not worth a kernel
   * @param useOneThread as in {@link OneDnn}
   */
  OneDnnSgemm(Sgemm others, Runnable useOneThread) {
    this(others, useOneThread, SMALL_PRODUCT, LONG_PRODUCT);
  }

  /**
   * @param smallProduct multiplications up to which a product is not worth a kernel
   * @param longProduct multiplications from which it is, whatever its sizes
   */
  OneDnnSgemm(Sgemm others, Runnable useOneThread, long smallProduct, long longProduct) {
    this.others = others;
    this.library = new OneDnn(useOneThread);
    this.smallProduct = smallProduct;
    this.longProduct = longProduct;
  }

  @Override
  public String library() {
    return OneDnn.version();
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
    Optional<OneDnnProduct> product =
        isWorthAKernel(m, n, k)
            ? product(
                new OneDnnProduct.Form(
                    transposeA,
                    transposeB,
                    m,
                    n,
                    k,
                    (float) alpha,
                    strideOfA,
                    strideOfB,
                    (float) beta,
                    strideOfC))
            : Optional.empty();
    if (product.isEmpty()) {
      others.multiply(
          transposeA, transposeB, m, n, k, alpha, a, strideOfA, b, strideOfB, beta, c, strideOfC);
      return;
    }
    scratch.moveTo(scratchOf(product.get().scratchBytes()));
    product.get().run(library, left.moveTo(a), right.moveTo(b), result.moveTo(c), scratch);
  }

  private boolean isWorthAKernel(long m, long n, long k) {
    long multiplications = m * n * k;
    boolean isOfWholes = m % WHOLE == 0 && n % WHOLE == 0 && k % WHOLE == 0;
    return multiplications > smallProduct && (isOfWholes || multiplications >= longProduct);
  }

  private Optional<OneDnnProduct> product(OneDnnProduct.Form form) {
    Optional<OneDnnProduct> found = products.get(form);
    if (found != null) {
      return found;
    }
    if (products.size() == KEPT_PRODUCTS) {
      Iterator<Optional<OneDnnProduct>> leastRecent = products.values().iterator();
      Optional<OneDnnProduct> expired = leastRecent.next();
      leastRecent.remove();
      expired.ifPresent(OneDnnProduct::close);
    }
    Optional<OneDnnProduct> made = OneDnnProduct.of(library.engine(), form);
    products.put(form, made);
    return made;
  }

  /** Where so many bytes are free, until more are asked for. */
  private long scratchOf(long bytes) {
    BytePointer present = scratchMemory;
    if (present == null || present.capacity() < bytes) {
      if (present != null) {
        scratchMemory = null; // what comes may fail
        present.close();
      }
      present = new BytePointer(Math.max(1, bytes));
      scratchMemory = present;
    }
    return present.address();
  }

  @Override
  public void close() {
    products.values().forEach(product -> product.ifPresent(OneDnnProduct::close));
    products.clear();
    library.close();
    BytePointer memory = scratchMemory;
    if (memory != null) {
      scratchMemory = null;
      memory.close();
    }
    others.close();
  }
}
