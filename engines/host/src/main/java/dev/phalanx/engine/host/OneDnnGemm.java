package dev.phalanx.engine.host;

import dev.phalanx.tensor.DType;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.BytePointer;
import org.jspecify.annotations.Nullable;

/**
 * Products by oneDNN, which makes a kernel for the form of each: with AVX-512 they reach some
 * ninety per cent of the processor's peak where OpenBLAS reaches eighty; with narrower vectors both
 * are alike. To make a kernel takes a millisecond and half a megabyte, so products that are small
 * or seldom twice of one form are left to another library; which these are follows from the form
 * alone, so that a job that goes on computes what one without a pause would have.
 *
 * <p>These are oneDNN's {@code matmul} primitives. Its {@code dnnl_sgemm} has a kernel that uses
 * the stack pointer as an address of its working memory: a signal at that moment, as profilers send
 * them, writes its frame into the heap (seen with 3.11 and Java's Flight Recorder).
 */
final class OneDnnGemm implements Gemm {
  /** Sizes of a model are its multiples; numbers of rows that change at every step are not. */
  private static final long WHOLE = 64;

  /** Multiplications of a product that lasts some times as long as its kernel takes to make. */
  private static final long LONG_PRODUCT = 1L << 29;

  /** Multiplications of a product that is too small to gain: half of attention's smallest tile. */
  private static final long SMALL_PRODUCT = 1L << 17;

  /** oneDNN keeps kernels that were closed for a while, for all of the process. */
  private static final int KEPT_PRODUCTS = 128;

  private final Gemm others;
  private final OneDnn library;
  private final boolean multipliesBfloat16;
  private final long smallProduct;
  private final long longProduct;
  private final Map<ProductForm, Optional<OneDnnProduct>> products =
      new LinkedHashMap<>(64, 0.75f, true);
  private final FloatAddress left = new FloatAddress();
  private final FloatAddress right = new FloatAddress();
  private final FloatAddress addend = new FloatAddress();
  private final FloatAddress result = new FloatAddress();
  private final FloatAddress scratch = new FloatAddress();
  private @Nullable BytePointer scratchMemory;
  private @Nullable ProductForm lastForm;
  private Optional<OneDnnProduct> lastProduct = Optional.empty();

  /**
   * @param others for products that are not worth a kernel; this closes it, not the library
   * @param multipliesBfloat16 or FLOAT32 alone
   */
  OneDnnGemm(Gemm others, OneDnn library, boolean multipliesBfloat16) {
    this(others, library, multipliesBfloat16, SMALL_PRODUCT, LONG_PRODUCT);
  }

  /**
   * @param smallProduct multiplications up to which a product is not worth a kernel
   * @param longProduct multiplications from which it is, whatever its sizes
   */
  OneDnnGemm(
      Gemm others,
      OneDnn library,
      boolean multipliesBfloat16,
      long smallProduct,
      long longProduct) {
    this.others = others;
    this.library = library;
    this.multipliesBfloat16 = multipliesBfloat16;
    this.smallProduct = smallProduct;
    this.longProduct = longProduct;
  }

  @Override
  public String library() {
    return OneDnn.version();
  }

  @Override
  public boolean multiplies(ProductForm form) {
    return product(form).isPresent() || others.multiplies(form);
  }

  @Override
  public void multiply(ProductForm form, long a, long b, long bias, long c) {
    Optional<OneDnnProduct> product = product(form);
    if (product.isEmpty()) {
      others.multiply(form, a, b, bias, c);
      return;
    }
    scratch.moveTo(scratchOf(product.get().scratchBytes()));
    product
        .get()
        .run(
            library,
            left.moveTo(a),
            right.moveTo(b),
            addend.moveTo(bias),
            result.moveTo(c),
            scratch);
  }

  private boolean isWorthAKernel(ProductForm form) {
    boolean isOfWholes =
        (form.m() == 1 || form.m() % WHOLE == 0) && form.n() % WHOLE == 0 && form.k() % WHOLE == 0;
    boolean isKnown =
        form.factors() == DType.FLOAT32 || (form.factors() == DType.BFLOAT16 && multipliesBfloat16);
    long multiplications = form.multiplications();
    return isKnown
        && multiplications > smallProduct
        && (isOfWholes || multiplications >= longProduct);
  }

  private Optional<OneDnnProduct> product(ProductForm form) {
    if (form == lastForm) { // as for all heads of a block
      return lastProduct;
    }
    lastProduct = isWorthAKernel(form) ? kept(form) : Optional.empty();
    lastForm = form;
    return lastProduct;
  }

  private Optional<OneDnnProduct> kept(ProductForm form) {
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
    lastForm = null;
    products.values().forEach(product -> product.ifPresent(OneDnnProduct::close));
    products.clear();
    BytePointer memory = scratchMemory;
    if (memory != null) {
      scratchMemory = null;
      memory.close();
    }
    others.close();
  }
}
