package dev.phalanx.engine.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.phalanx.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.LongSupplier;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.bytedeco.javacpp.FloatPointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Every library's products against plain sums. */
class GemmTest {
  /** Beyond the blocks and vectors of the libraries' kernels, and on either side of their edges. */
  private static final long[] SIZES = {1, 17, 64, 65, 128, 192, 257, 448, 1024, 1025};

  /** oneDNN with a Gemm on it, closed together. */
  private record OnOneDnn(OneDnn library, Gemm gemm) implements AutoCloseable {
    static OnOneDnn with(Gemm others) {
      OneDnn library = new OneDnn(() -> {});
      return new OnOneDnn(library, new OneDnnGemm(others, library, true));
    }

    /** Every product by oneDNN. */
    static OnOneDnn alone() {
      OneDnn library = new OneDnn(() -> {});
      return new OnOneDnn(library, new OneDnnGemm(new NoGemm(), library, true, 0, 0));
    }

    @Override
    public void close() {
      gemm.close();
      library.close();
    }
  }

  private static final class NoGemm implements Gemm {
    @Override
    public String library() {
      return "none";
    }

    @Override
    public boolean multiplies(ProductForm form) {
      return false;
    }

    @Override
    public void multiply(ProductForm form, long a, long b, long bias, long c) {
      throw new AssertionError("a product of this form is not oneDNN's: " + form);
    }

    @Override
    public void close() {}
  }

  @Test
  void theLibraryIsTheOneForTheProcessor() {
    assertThat(OneDnn.isLoaded()).isTrue();
    try (HostKernels kernels = new HostKernels(() -> {}, true)) {
      assertThat(kernels.gemm().library())
          .startsWith(CpuFeatures.ofThisMachine().hasAvx512() ? "oneDNN 3." : "OpenBLAS");
    }
  }

  /** A matrix whose rows lie {@code distance} numbers apart, with NaN between and behind them. */
  private record Matrix(DType type, long rows, long columns, long distance, NativeNumbers numbers)
      implements AutoCloseable {
    static Matrix of(DType type, long rows, long columns, long distance, Random random) {
      NativeNumbers numbers = NativeNumbers.of(type, rows * distance);
      for (long i = 0; i < rows * distance; i++) {
        numbers.put(i, i % distance < columns ? random.nextFloat() - 0.5f : Float.NaN);
      }
      return new Matrix(type, rows, columns, distance, numbers);
    }

    long address() {
      return numbers.address();
    }

    void put(long place, float value) {
      numbers.put(place, value);
    }

    float get(long place) {
      return numbers.get(place);
    }

    double get(boolean isTransposed, long row, long column) {
      return get(isTransposed ? column * distance + row : row * distance + column);
    }

    ProductForm.Factor factor(boolean isTransposed) {
      return new ProductForm.Factor(type, isTransposed, distance);
    }

    @Override
    public void close() {
      numbers.close();
    }
  }

  @Test
  void openBlasMultiplies() {
    try (Gemm gemm = new OpenBlasGemm()) {
      assertThat(productsOfPlainSums(gemm, DType.FLOAT32, DType.FLOAT32)).isEqualTo(360);
      ProductForm narrow = form(DType.BFLOAT16, 64, 64, 64);
      assertThat(gemm.multiplies(narrow)).isFalse();
      assertThatThrownBy(() -> gemm.multiply(narrow, 0, 0, 0))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("OpenBLAS");
    }
  }

  @Test
  void oneDnnMultipliesBesideOpenBlas() {
    try (OnOneDnn one = OnOneDnn.with(new OpenBlasGemm())) {
      assertThat(productsOfPlainSums(one.gemm, DType.FLOAT32, DType.FLOAT32)).isEqualTo(360);
    }
  }

  /** With AVX-512 every one, which is where it is used; elsewhere not one, and each is right. */
  @Test
  void oneDnnMultipliesAlone() {
    try (OnOneDnn one = OnOneDnn.alone()) {
      int some = productsOfPlainSums(one.gemm, DType.FLOAT32, DType.FLOAT32);
      if (CpuFeatures.ofThisMachine().hasAvx512()) {
        assertThat(some).isEqualTo(360);
      }
    }
  }

  /** Where the processor has instructions for it; elsewhere not one, and each is right. */
  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void oneDnnMultipliesBfloat16(DType result) {
    try (OnOneDnn one = OnOneDnn.alone()) {
      int some = productsOfPlainSums(one.gemm, DType.BFLOAT16, result);
      if (CpuFeatures.ofThisMachine().multipliesBfloat16()) {
        assertThat(some).isGreaterThan(300);
        assertThat(one.gemm.multiplies(form(DType.BFLOAT16, 2048, 768, 256))).isTrue();
      }
    }
  }

  /** How many of 360 products were those of plain sums; the rest is not known. */
  private static int productsOfPlainSums(Gemm gemm, DType factors, DType result) {
    Random random = new Random(5);
    LongSupplier size = () -> SIZES[random.nextInt(SIZES.length)];
    int known = 0;
    for (int i = 0; i < 120; i++) {
      boolean transposeA = random.nextBoolean();
      boolean transposeB = random.nextBoolean();
      long m = size.getAsLong();
      long n = size.getAsLong();
      long k = size.getAsLong();
      try (Product product =
          new Product(factors, result, transposeA, transposeB, m, n, k, random)) {
        known += product.check(gemm, 1, false, random.nextBoolean(), random);
        known += product.check(gemm, 1, true, random.nextBoolean(), random);
        known += product.check(gemm, -0.25f, random.nextBoolean(), false, random);
      }
    }
    return known;
  }

  private static final class Product implements AutoCloseable {
    private final boolean transposeA;
    private final boolean transposeB;
    private final long inner;
    private final Matrix a;
    private final Matrix b;
    private final Matrix bias;
    private final Matrix c;

    Product(
        DType factors,
        DType result,
        boolean transposeA,
        boolean transposeB,
        long m,
        long n,
        long k,
        Random random) {
      this.transposeA = transposeA;
      this.transposeB = transposeB;
      this.inner = k;
      this.a = matrix(factors, transposeA ? k : m, transposeA ? m : k, random);
      this.b = matrix(factors, transposeB ? n : k, transposeB ? k : n, random);
      this.bias = Matrix.of(factors, 1, n, n, random);
      this.c = matrix(result, m, n, random);
    }

    private static Matrix matrix(DType type, long rows, long columns, Random random) {
      return Matrix.of(type, rows, columns, columns + random.nextInt(3) * 7L, random);
    }

    /** 1 if it is right, 0 if it is not known. */
    int check(Gemm gemm, float scale, boolean isAdded, boolean hasBias, Random random) {
      ProductForm form =
          new ProductForm(
              c.rows,
              c.columns,
              inner,
              a.factor(transposeA),
              b.factor(transposeB),
              new ProductForm.Result(c.type, c.distance, scale, isAdded, hasBias));
      if (!gemm.multiplies(form)) {
        return 0;
      }
      List<Double> before = new ArrayList<>();
      List<Long> samples = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        long element = random.nextLong(c.rows * c.columns);
        samples.add(element);
        before.add(at(element));
      }
      if (!isAdded) {
        for (long element : samples) {
          c.put(place(element), Float.NaN); // what is there must not be read
        }
      }
      gemm.multiply(form, a.address(), b.address(), hasBias ? bias.address() : 0, c.address());
      for (int i = 0; i < samples.size(); i++) {
        long element = samples.get(i);
        long column = element % c.columns;
        double expected = (isAdded ? before.get(i) : 0) + (hasBias ? bias.get(column) : 0);
        double size = Math.abs(expected);
        for (long l = 0; l < inner; l++) {
          double term =
              scale * a.get(transposeA, element / c.columns, l) * b.get(transposeB, l, column);
          expected += term;
          size += Math.abs(term);
        }
        // Each of the additions may round by half a unit in the last place of a partial sum, and
        // the result once more.
        double rounding = c.type == DType.FLOAT32 ? 0 : 0x1p-8 * Math.abs(expected);
        assertThat(at(element))
            .as("%s", form)
            .isCloseTo(expected, within((inner + 3) * 0x1p-24 * size + 1.01 * rounding));
      }
      for (long row = 0; row < c.rows; row++) {
        for (long gap = c.columns; gap < c.distance; gap++) {
          assertThat(c.get(row * c.distance + gap)).isNaN();
        }
      }
      return 1;
    }

    private long place(long element) {
      return element / c.columns * c.distance + element % c.columns;
    }

    private double at(long element) {
      return c.get(place(element));
    }

    @Override
    public void close() {
      a.close();
      b.close();
      bias.close();
      c.close();
    }
  }

  /** Matrices that lie without gaps, not turned round. */
  private static ProductForm form(DType type, long m, long n, long k) {
    return new ProductForm(
        m,
        n,
        k,
        new ProductForm.Factor(type, false, k),
        new ProductForm.Factor(type, false, n),
        new ProductForm.Result(DType.FLOAT32, n, 1, false, false));
  }

  @ParameterizedTest
  @CsvSource({
    "64, 256, 64, true", // multiples of 64: a tile of attention
    "64, 64, 64, true",
    "64, 64, 32, false",
    "1, 256, 1024, true", // a sum of rows, or a single position
    "64, 1024, 65, false", // such sizes may never come again
    "1025, 1024, 1025, true", // unless it lasts
    "1000, 50257, 16, true"
  })
  void theFormDecidesWhoseAProductIs(long m, long n, long k, boolean isOneDnns) {
    assumeTrue(
        CpuFeatures.ofThisMachine().hasAvx512() || !isOneDnns || m > 1,
        "oneDNN has no kernel for one row without AVX-512");
    try (OnOneDnn one = OnOneDnn.with(new NoGemm());
        FloatPointer a = new FloatPointer(m * k);
        FloatPointer b = new FloatPointer(k * n);
        FloatPointer c = new FloatPointer(m * n)) {
      ProductForm form = form(DType.FLOAT32, m, n, k);
      ThrowingCallable product =
          () -> one.gemm.multiply(form, a.address(), b.address(), c.address());
      assertThat(one.gemm.multiplies(form)).isEqualTo(isOneDnns);
      if (isOneDnns) {
        assertThatCode(product).doesNotThrowAnyException();
      } else {
        assertThatThrownBy(product).hasMessageContaining("not oneDNN's");
      }
    }
  }

  @Test
  void formsThatAreNoneAreRefused() {
    ProductForm.Factor wide = new ProductForm.Factor(DType.FLOAT32, false, 64);
    ProductForm.Factor narrow = new ProductForm.Factor(DType.BFLOAT16, false, 64);
    ProductForm.Result result = new ProductForm.Result(DType.BFLOAT16, 64, 1, false, false);
    assertThatThrownBy(() -> new ProductForm(64, 64, 64, wide, narrow, result))
        .hasMessageContaining("FLOAT32 by BFLOAT16");
    assertThatThrownBy(() -> new ProductForm(64, 64, 64, wide, wide, result))
        .hasMessageContaining("into BFLOAT16");
    assertThatThrownBy(() -> new ProductForm.Result(DType.FLOAT32, 64, 2, false, true))
        .hasMessageContaining("bias");
  }

  @Test
  void nothingIsComputedAfterTheEnd() {
    try (FloatPointer memory = new FloatPointer(128 * 128)) {
      OnOneDnn one = OnOneDnn.alone();
      one.close();
      one.close();
      long place = memory.address();
      ProductForm form = form(DType.FLOAT32, 64, 64, 64);
      assertThatThrownBy(() -> one.gemm.multiply(form, place, place, place + 16384))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("closed");
    }
  }

  /** More forms than are kept: what was given up is found again, and results stay the same. */
  @Test
  void moreFormsThanAreKeptGiveTheSameProducts() {
    Random random = new Random(11);
    double expected = 0;
    try (OnOneDnn one = OnOneDnn.with(new OpenBlasGemm());
        Matrix a = Matrix.of(DType.FLOAT32, 64, 128, 128, random);
        Matrix b = Matrix.of(DType.FLOAT32, 1024, 128, 128, random);
        FloatPointer c = new FloatPointer(64 * 2048)) {
      for (long l = 0; l < 128; l++) {
        expected += a.get(false, 63, l) * b.get(false, 1023, l);
      }
      for (int round = 0; round < 2; round++) {
        for (long distance = 1024; distance < 1224; distance++) {
          long last = 63 * distance + 1023;
          c.put(last, Float.NaN);
          ProductForm form =
              new ProductForm(
                  64,
                  1024,
                  128,
                  a.factor(false),
                  b.factor(true),
                  new ProductForm.Result(DType.FLOAT32, distance, 1, false, false));
          one.gemm.multiply(form, a.address(), b.address(), c.address());
          assertThat((double) c.get(last)).isCloseTo(expected, within(1e-5));
        }
      }
    }
  }
}
