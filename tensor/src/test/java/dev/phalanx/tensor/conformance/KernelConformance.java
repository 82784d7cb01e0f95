package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.EngineProvider;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;
import java.util.Random;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/**
 * Base of the groups of conformance tests: an engine and an arena for each test, tensors from
 * numbers and numbers from tensors, and the comparison.
 *
 * <p>Inputs are rounded to the tensor's type before the reference sees them, so that what is
 * compared is the kernel's own error.
 */
public abstract class KernelConformance {
  /** Odd sizes around those at which vector loops, unrolled loops and blocks end. */
  protected static final long[] ODD_SIZES = {1, 3, 7, 17, 33, 65};

  protected Engine engine;
  protected Arena arena;
  protected Random random;

  /** The engine to check. */
  protected abstract EngineProvider provider();

  @BeforeEach
  void open() {
    engine = provider().open(EngineOptions.singleThreaded());
    arena = new Arena(engine, Numbers.deviceOf(engine));
    random = new Random(20240601);
  }

  @AfterEach
  void close() {
    arena.close();
    engine.close();
  }

  /** {@code count} numbers of the standard normal distribution, as they are after rounding. */
  protected double[] normal(DType dtype, long count) {
    double[] values = new double[Math.toIntExact(count)];
    Arrays.setAll(values, i -> Numbers.rounded(dtype, random.nextGaussian()));
    return values;
  }

  /**
   * Leaves a test of kernels out whose type the engine does without. It carries such values still:
   * {@code copy} and {@code fill} take all types.
   */
  protected void assumeKernelsTake(DType dtype) {
    boolean isHalf = dtype == DType.BFLOAT16 || dtype == DType.FLOAT16;
    assumeTrue(!isHalf || engine.supports(dtype), "an engine may do without " + dtype);
  }

  protected Tensor tensor(DType dtype, double[] values, long... sizes) {
    assumeKernelsTake(dtype);
    Tensor tensor = arena.allocate(dtype, sizes);
    Numbers.write(engine, tensor, values);
    return tensor;
  }

  protected Tensor ids(long... values) {
    return tensor(DType.INT64, Arrays.stream(values).asDoubleStream().toArray(), values.length);
  }

  /** An output whose old bytes must not be read: they are NaN. */
  protected Tensor output(DType dtype, long... sizes) {
    assumeKernelsTake(dtype);
    Tensor tensor = arena.allocate(dtype, sizes);
    double[] garbage = new double[Math.toIntExact(tensor.elementCount())];
    Arrays.fill(garbage, Double.NaN);
    Numbers.write(engine, tensor, garbage);
    return tensor;
  }

  /** A strided view [n, d] with these values, between columns of NaN. */
  protected Tensor strided(DType dtype, double[] values, long rows, long columns) {
    Tensor wide = output(dtype, rows, columns + 5);
    Tensor view = wide.slice(1, 2, columns);
    engine.copy(tensor(dtype, values, rows, columns), view);
    return view;
  }

  /** All elements in order, also of a strided view. */
  protected double[] values(Tensor tensor) {
    return Numbers.read(engine, tensor);
  }

  /**
   * How far a sum of products may be off, relative to the sum of the products' magnitudes.
   *
   * <p>FLOAT32: a sum of some hundred terms in any order stays below 100 roundings of 2^-24.
   * BFLOAT16: sums are kept in FLOAT32, and the result is rounded by at most 2^-8; one intermediate
   * (a bias already added to a residual, say) may be rounded before. FLOAT16: the same with 2^-11.
   */
  protected static double tolerance(DType dtype) {
    return switch (dtype) {
      case BFLOAT16 -> 0x1p-7;
      case FLOAT16 -> 0x1p-10;
      default -> 1e-5;
    };
  }

  /** What may be off near nought: FLOAT16 has steps of 2^-24 below 2^-14. */
  private static double smallest(DType dtype) {
    return dtype == DType.FLOAT16 ? 0x1p-23 : 1e-30;
  }

  /** Each element within the tolerance of its type, relative to its magnitude. */
  protected void assertClose(Tensor actual, double[] expected, double[] magnitudes) {
    assertClose(actual, expected, magnitudes, tolerance(actual.dtype()));
  }

  protected void assertClose(
      Tensor actual, double[] expected, double[] magnitudes, double tolerance) {
    double[] found = values(actual);
    assertThat(found).hasSameSizeAs(expected);
    for (int i = 0; i < found.length; i++) {
      double magnitude = Math.max(Math.abs(magnitudes[i]), Math.abs(expected[i]));
      double allowed = tolerance * magnitude + smallest(actual.dtype());
      if (!(Math.abs(found[i] - expected[i]) <= allowed) && found[i] != expected[i]) {
        throw new AssertionError(
            "Element "
                + i
                + " of "
                + actual
                + " is "
                + found[i]
                + ", expected "
                + expected[i]
                + " within "
                + allowed);
      }
    }
  }

  /** Each element within the tolerance, relative to the largest of all. */
  protected void assertClose(Tensor actual, double[] expected) {
    assertClose(actual, expected, tolerance(actual.dtype()));
  }

  protected void assertClose(Tensor actual, double[] expected, double tolerance) {
    double[] magnitudes = new double[expected.length];
    Arrays.fill(
        magnitudes,
        Arrays.stream(expected).filter(Double::isFinite).map(Math::abs).max().orElse(0));
    assertClose(actual, expected, magnitudes, tolerance);
  }

  /** The call is refused, and the message names the kernel. */
  protected static void assertRefused(String kernel, ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(kernel);
  }
}
