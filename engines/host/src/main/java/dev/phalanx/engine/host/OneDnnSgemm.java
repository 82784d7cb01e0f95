package dev.phalanx.engine.host;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.dnnl_version_t;
import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.BytePointer;
import org.jspecify.annotations.Nullable;

/**
 * Products by oneDNN, which makes a kernel for the form of each: with AVX-512 they reach some
 * ninety per cent of the processor's peak where OpenBLAS reaches eighty; with narrower vectors both
 * are alike. To make a kernel takes half a millisecond and as many kilobytes, so products that are
 * small or seldom twice of one form stay with OpenBLAS; which these are follows from the form
 * alone, so that a job that goes on computes what one without a pause would have.
 *
 * <p>These are oneDNN's {@code matmul} primitives. Its {@code dnnl_sgemm} has a kernel that uses
 * the stack pointer as an address of its working memory: a signal at that moment, as profilers send
 * them, writes its frame into the heap (seen with 3.11 and Java's Flight Recorder).
 */
final class OneDnnSgemm implements Sgemm {
  private static final List<String> FOLDERS =
      List.of("/org/bytedeco/dnnl/%s/", "/org/bytedeco/opencl/%s/");

  private static final boolean IS_LOADED = load();

  /** Sizes of a model are its multiples; numbers of rows that change at every step are not. */
  private static final long WHOLE = 64;

  /** Multiplications of a product that lasts twenty times as long as its kernel takes to make. */
  private static final long LONG_PRODUCT = 1L << 29;

  /** Multiplications of a product that is too small to gain: a block of attention to 256 keys. */
  private static final long SMALL_PRODUCT = 1L << 20;

  private static final int KEPT_PRODUCTS = 256;

  private final Sgemm others;
  private final Runnable useOneThread;
  private final dnnl_engine engine = new dnnl_engine();
  private final dnnl_stream stream = new dnnl_stream();
  private final Map<OneDnnProduct.Form, OneDnnProduct> products =
      new LinkedHashMap<>(64, 0.75f, true);
  private final FloatAddress left = new FloatAddress();
  private final FloatAddress right = new FloatAddress();
  private final FloatAddress result = new FloatAddress();
  private final FloatAddress scratch = new FloatAddress();
  private @Nullable BytePointer scratchMemory;
  private @Nullable Thread preparedThread;

  /**
   * @param others for products that are not worth a kernel
   * @param useOneThread tells OpenMP, which oneDNN asks for threads, that the thread which runs
   *     this works alone
   */
  OneDnnSgemm(Sgemm others, Runnable useOneThread) {
    this.others = others;
    this.useOneThread = useOneThread;
    check(dnnl.dnnl_engine_create(engine, dnnl.dnnl_cpu, 0));
    check(dnnl.dnnl_stream_create(stream, engine, dnnl.dnnl_stream_default_flags));
  }

  /** Whether the library is on the class path and runs on this machine. */
  static boolean isLoaded() {
    return IS_LOADED;
  }

  private static boolean load() {
    try {
      if (NativeLibraries.hasNoExtension()) {
        NativeLibraries.locate(List.of(dnnl.class), FOLDERS);
      }
      return NativeLibraries.oneAtATime(() -> dnnl.dnnl_version()) != null;
    } catch (LinkageError e) {
      return false;
    }
  }

  @Override
  public String library() {
    dnnl_version_t version = dnnl.dnnl_version();
    return "oneDNN " + version.major() + "." + version.minor() + "." + version.patch();
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
      long rowsOfA,
      long b,
      long rowsOfB,
      double beta,
      long c,
      long rowsOfC) {
    if (!isWorthAKernel(m, n, k)) {
      others.multiply(
          transposeA, transposeB, m, n, k, alpha, a, rowsOfA, b, rowsOfB, beta, c, rowsOfC);
      return;
    }
    Thread current = Thread.currentThread();
    if (current != preparedThread) {
      useOneThread.run();
      preparedThread = current;
    }
    OneDnnProduct.Form form =
        new OneDnnProduct.Form(
            transposeA,
            transposeB,
            m,
            n,
            k,
            (float) alpha,
            rowsOfA,
            rowsOfB,
            (float) beta,
            rowsOfC);
    OneDnnProduct product = product(form);
    scratch.moveTo(scratchOf(product.scratchBytes()));
    product.run(stream, left.moveTo(a), right.moveTo(b), result.moveTo(c), scratch, form);
  }

  private boolean isWorthAKernel(long m, long n, long k) {
    long multiplications = m * n * k;
    boolean isOfWholes = m % WHOLE == 0 && n % WHOLE == 0 && k % WHOLE == 0;
    return multiplications > SMALL_PRODUCT && (isOfWholes || multiplications >= LONG_PRODUCT);
  }

  private OneDnnProduct product(OneDnnProduct.Form form) {
    OneDnnProduct found = products.get(form);
    if (found != null) {
      return found;
    }
    if (products.size() == KEPT_PRODUCTS) {
      Iterator<OneDnnProduct> leastRecent = products.values().iterator();
      OneDnnProduct expired = leastRecent.next();
      leastRecent.remove();
      expired.close();
    }
    OneDnnProduct made = new OneDnnProduct(engine, form);
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

  private static void check(int status) {
    if (status != dnnl.dnnl_success) {
      throw new IllegalStateException("oneDNN could not begin: status " + status);
    }
  }

  @Override
  public void close() {
    products.values().forEach(OneDnnProduct::close);
    products.clear();
    dnnl.dnnl_stream_destroy(stream);
    dnnl.dnnl_engine_destroy(engine);
    BytePointer memory = scratchMemory;
    if (memory != null) {
      scratchMemory = null;
      memory.close();
    }
    others.close();
  }
}
