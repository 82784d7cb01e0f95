package dev.phalanx.engine.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.LongSupplier;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.bytedeco.javacpp.FloatPointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Every library's products against plain sums. */
class SgemmTest {
  /** Beyond the blocks and vectors of the libraries' kernels, and on either side of their edges. */
  private static final long[] SIZES = {1, 17, 64, 65, 128, 192, 257, 448, 1024, 1025};

  private static Sgemm oneDnn() {
    return new OneDnnSgemm(new OpenBlasSgemm(), () -> {});
  }

  /** Every product by oneDNN: nobody else is there. */
  private static Sgemm oneDnnAlone() {
    return new OneDnnSgemm(new NoSgemm(), () -> {}, 0, 0);
  }

  private static Stream<Sgemm> libraries() {
    return Stream.of(oneDnnAlone(), oneDnn(), new OpenBlasSgemm());
  }

  private static final class NoSgemm implements Sgemm {
    @Override
    public String library() {
      return "none";
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
      throw new AssertionError("a product [%d, %d, %d] is not oneDNN's".formatted(m, n, k));
    }

    @Override
    public void close() {}
  }

  @Test
  void theLibraryIsTheOneForTheProcessor() {
    assertThat(OneDnn.isLoaded()).isTrue();
    try (Sgemm sgemm = Sgemm.open(() -> {})) {
      assertThat(sgemm.library())
          .startsWith(CpuFeatures.ofThisMachine().hasAvx512() ? "oneDNN 3." : "OpenBLAS");
    }
  }

  /** A matrix whose rows lie {@code distance} numbers apart, with NaN between and behind them. */
  private record Matrix(long rows, long columns, long distance, FloatPointer memory) {
    static Matrix of(long rows, long columns, long distance, Random random) {
      FloatPointer memory = new FloatPointer(rows * distance);
      for (long i = 0; i < rows * distance; i++) {
        memory.put(i, i % distance < columns ? random.nextFloat() - 0.5f : Float.NaN);
      }
      return new Matrix(rows, columns, distance, memory);
    }

    double get(boolean isTransposed, long row, long column) {
      return memory.get(isTransposed ? column * distance + row : row * distance + column);
    }
  }

  @ParameterizedTest
  @MethodSource("libraries")
  void productsAreThoseOfPlainSums(Sgemm sgemm) {
    Random random = new Random(5);
    LongSupplier size = () -> SIZES[random.nextInt(SIZES.length)];
    for (int i = 0; i < 120; i++) {
      boolean transposeA = random.nextBoolean();
      boolean transposeB = random.nextBoolean();
      long m = size.getAsLong();
      long n = size.getAsLong();
      long k = size.getAsLong();
      try (Product product = new Product(transposeA, transposeB, m, n, k, random)) {
        product.check(sgemm, 1, 0, random);
        product.check(sgemm, -0.25, 1, random);
        product.check(sgemm, 0.5, 0.75, random);
      }
    }
  }

  private static final class Product implements AutoCloseable {
    private final boolean transposeA;
    private final boolean transposeB;
    private final long inner;
    private final Matrix a;
    private final Matrix b;
    private final Matrix c;

    Product(boolean transposeA, boolean transposeB, long m, long n, long k, Random random) {
      this.transposeA = transposeA;
      this.transposeB = transposeB;
      this.inner = k;
      this.a = matrix(transposeA ? k : m, transposeA ? m : k, random);
      this.b = matrix(transposeB ? n : k, transposeB ? k : n, random);
      this.c = matrix(m, n, random);
    }

    private static Matrix matrix(long rows, long columns, Random random) {
      return Matrix.of(rows, columns, columns + random.nextInt(3) * 7L, random);
    }

    void check(Sgemm sgemm, double alpha, double beta, Random random) {
      List<Double> before = new ArrayList<>();
      List<Long> samples = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        long element = random.nextLong(c.rows() * c.columns());
        samples.add(element);
        before.add(at(element));
      }
      if (beta == 0) {
        for (long element : samples) {
          c.memory().put(place(element), Float.NaN); // what is there must not be read
        }
      }
      sgemm.multiply(
          transposeA,
          transposeB,
          c.rows(),
          c.columns(),
          inner,
          alpha,
          a.memory().address(),
          a.distance(),
          b.memory().address(),
          b.distance(),
          beta,
          c.memory().address(),
          c.distance());
      for (int i = 0; i < samples.size(); i++) {
        long element = samples.get(i);
        double expected = beta == 0 ? 0 : beta * before.get(i);
        double size = Math.abs(expected);
        for (long l = 0; l < inner; l++) {
          double term =
              alpha
                  * a.get(transposeA, element / c.columns(), l)
                  * b.get(transposeB, l, element % c.columns());
          expected += term;
          size += Math.abs(term);
        }
        // Each of the additions may round by half a unit in the last place of a partial sum.
        assertThat(at(element)).isCloseTo(expected, within((inner + 2) * 0x1p-24 * size));
      }
      for (long row = 0; row < c.rows(); row++) {
        for (long gap = c.columns(); gap < c.distance(); gap++) {
          assertThat(c.memory().get(row * c.distance() + gap)).isNaN();
        }
      }
    }

    private long place(long element) {
      return element / c.columns() * c.distance() + element % c.columns();
    }

    private double at(long element) {
      return c.memory().get(place(element));
    }

    @Override
    public void close() {
      a.memory().close();
      b.memory().close();
      c.memory().close();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "64, 1024, 64, true", // multiples of 64, beyond a block of attention
    "64, 256, 64, false",
    "64, 1024, 65, false", // such sizes may never come again
    "1025, 1024, 1025, true", // unless it lasts
    "1000, 50257, 16, true"
  })
  void theFormDecidesWhoseAProductIs(long m, long n, long k, boolean isOneDnns) {
    try (Sgemm sgemm = new OneDnnSgemm(new NoSgemm(), () -> {});
        FloatPointer a = new FloatPointer(m * k);
        FloatPointer b = new FloatPointer(k * n);
        FloatPointer c = new FloatPointer(m * n)) {
      ThrowingCallable product =
          () ->
              sgemm.multiply(
                  false, false, m, n, k, 1, a.address(), k, b.address(), n, 0, c.address(), n);
      if (isOneDnns) {
        assertThatCode(product).doesNotThrowAnyException();
      } else {
        assertThatThrownBy(product).hasMessageContaining("not oneDNN's");
      }
    }
  }

  @Test
  void nothingIsComputedAfterTheEnd() {
    try (FloatPointer memory = new FloatPointer(128 * 128)) {
      Sgemm sgemm = oneDnnAlone();
      sgemm.close();
      sgemm.close();
      long place = memory.address();
      assertThatThrownBy(
              () ->
                  sgemm.multiply(
                      false, false, 64, 64, 64, 1, place, 64, place, 64, 0, place + 16384, 64))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("closed");
    }
  }

  /** More forms than are kept: what was given up is found again, and results stay the same. */
  @Test
  void moreFormsThanAreKeptGiveTheSameProducts() {
    Random random = new Random(11);
    Matrix a = Matrix.of(64, 128, 128, random);
    Matrix b = Matrix.of(1024, 128, 128, random);
    double expected = 0;
    for (long l = 0; l < 128; l++) {
      expected += a.get(false, 63, l) * b.get(false, 1023, l);
    }
    try (Sgemm sgemm = oneDnn();
        FloatPointer c = new FloatPointer(64 * 2048)) {
      for (int round = 0; round < 2; round++) {
        for (long distance = 1024; distance < 1324; distance++) {
          long last = 63 * distance + 1023;
          c.put(last, Float.NaN);
          sgemm.multiply(
              false,
              true,
              64,
              1024,
              128,
              1,
              a.memory().address(),
              128,
              b.memory().address(),
              128,
              0,
              c.address(),
              distance);
          assertThat((double) c.get(last)).isCloseTo(expected, within(1e-5));
        }
      }
    }
    a.memory().close();
    b.memory().close();
  }
}
