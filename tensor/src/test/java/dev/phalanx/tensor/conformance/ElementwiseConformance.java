package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;
import java.util.function.BiConsumer;
import java.util.function.DoubleUnaryOperator;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Arithmetic, activations and dropout: what works on each element by itself. */
public abstract class ElementwiseConformance extends KernelConformance {
  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void addAndMultiplyMayWriteOverAnInput(DType dtype) {
    for (long size : ODD_SIZES) {
      double[] a = normal(dtype, 3 * size);
      double[] b = normal(dtype, 3 * size);
      for (int aliased = 0; aliased < 3; aliased++) {
        Tensor x = tensor(dtype, a, 3, size);
        Tensor y = tensor(dtype, b, 3, size);
        Tensor out = aliased == 0 ? output(dtype, 3, size) : aliased == 1 ? x : y;
        engine.add(x, y, out);
        assertClose(out, ReferenceKernels.add(a, b));

        x = tensor(dtype, a, 3, size);
        y = tensor(dtype, b, 3, size);
        out = aliased == 0 ? output(dtype, 3, size) : aliased == 1 ? x : y;
        engine.multiply(x, y, out);
        assertClose(out, ReferenceKernels.multiply(a, b));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void addTakesARow(DType dtype) {
    double[] a = normal(dtype, 2 * 3 * 17);
    double[] row = normal(dtype, 17);
    double[] expected = new double[a.length];
    Arrays.setAll(expected, i -> a[i] + row[i % 17]);
    Tensor out = tensor(dtype, a, 2, 3, 17);
    engine.add(out, tensor(dtype, row, 17), out);
    assertClose(out, expected);
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, FLOAT32",
    "FLOAT32, BFLOAT16",
    "BFLOAT16, FLOAT32",
    "BFLOAT16, BFLOAT16",
    "FLOAT32, FLOAT16",
    "FLOAT16, FLOAT32",
    "FLOAT16, FLOAT16"
  })
  void addScaledMixesTypesAndTakesViews(DType from, DType to) {
    for (double alpha : new double[] {1, -0.25}) {
      double[] x = normal(from, 7 * 33);
      double[] y = normal(to, 7 * 33);
      double[] expected = new double[x.length];
      Arrays.setAll(expected, i -> y[i] + alpha * x[i]);
      Tensor sum = tensor(to, y, 7, 33);
      engine.addScaled(alpha, strided(from, x, 7, 33), sum);
      assertClose(sum, expected);
      Tensor view = strided(to, y, 7, 33);
      engine.addScaled(alpha, tensor(from, x, 7, 33), view);
      assertClose(view, expected);
    }
  }

  /** As losses are, of many micro-batches: FLOAT32 would round each against a large sum. */
  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "FLOAT64"})
  void addScaledToFloat64KeepsItsDigits(DType from) {
    Tensor sum = tensor(DType.FLOAT64, new double[] {1e8 + 0.25, -3}, 2);
    engine.addScaled(0.5, tensor(from, new double[] {1.5, 2}, 2), sum);
    assertThat(values(sum)).containsExactly(1e8 + 1, -2);
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void scaleMultiplies(DType dtype) {
    double[] x = normal(dtype, 65);
    Tensor scaled = tensor(dtype, x, 65);
    engine.scale(scaled, -0.3);
    assertClose(scaled, ReferenceKernels.map(x, v -> -0.3 * v));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void activationsAndTheirGradients(DType dtype) {
    checkActivation(
        dtype,
        (x, y) -> engine.gelu(x, y),
        engine::geluBackward,
        ReferenceKernels::gelu,
        ReferenceKernels::geluSlope);
    checkActivation(
        dtype,
        (x, y) -> engine.silu(x, y),
        engine::siluBackward,
        ReferenceKernels::silu,
        ReferenceKernels::siluSlope);
  }

  private interface Backward {
    void apply(Tensor dy, Tensor x, Tensor dx);
  }

  /** Beyond what an engine may compute at once, with something left over. */
  private static final long PIECES = 2 * 16384 + 5;

  private void checkActivation(
      DType dtype,
      BiConsumer<Tensor, Tensor> forward,
      Backward backward,
      DoubleUnaryOperator function,
      DoubleUnaryOperator slope) {
    for (long size : LongStream.concat(LongStream.of(ODD_SIZES), LongStream.of(PIECES)).toArray()) {
      double[] x = ReferenceKernels.map(normal(dtype, size), v -> 2 * v);
      x[0] = -30;
      double[] dy = normal(dtype, size);
      Tensor y = output(dtype, size);
      forward.accept(tensor(dtype, x, size), y);
      assertClose(y, ReferenceKernels.map(x, function));

      double[] expected = ReferenceKernels.multiply(dy, ReferenceKernels.map(x, slope));
      Tensor dx = output(dtype, size);
      backward.apply(tensor(dtype, dy, size), tensor(dtype, x, size), dx);
      assertClose(dx, expected);
      Tensor inPlace = tensor(dtype, dy, size);
      backward.apply(inPlace, tensor(dtype, x, size), inPlace);
      assertClose(inPlace, expected);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void swiGluTakesTheHalvesOfAPackedTensor(DType dtype) {
    for (long rows : ODD_SIZES) {
      int width = 33;
      int count = (int) rows * width;
      double[] gate = normal(dtype, count);
      double[] up = normal(dtype, count);
      double[] dy = normal(dtype, count);
      Tensor packed = output(dtype, rows, 2 * width);
      Tensor gateView = packed.slice(1, 0, width);
      Tensor upView = packed.slice(1, width, width);
      engine.copy(tensor(dtype, gate, rows, width), gateView);
      engine.copy(tensor(dtype, up, rows, width), upView);
      Tensor y = output(dtype, rows, width);
      engine.swiGlu(gateView, upView, y);
      double[] silu = ReferenceKernels.map(gate, ReferenceKernels::silu);
      assertClose(y, ReferenceKernels.multiply(silu, up));

      Tensor dPacked = output(dtype, rows, 2 * width);
      engine.swiGluBackward(
          tensor(dtype, dy, rows, width),
          gateView,
          upView,
          dPacked.slice(1, 0, width),
          dPacked.slice(1, width, width));
      double[] slope = ReferenceKernels.map(gate, ReferenceKernels::siluSlope);
      assertClose(
          dPacked.slice(1, 0, width),
          ReferenceKernels.multiply(dy, ReferenceKernels.multiply(up, slope)));
      assertClose(dPacked.slice(1, width, width), ReferenceKernels.multiply(dy, silu));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void dropoutIsTheCounterRandomOfEachElement(DType dtype) {
    int count = 1000;
    double[] x = normal(dtype, count);
    for (double probability : new double[] {0, 0.1, 0.5, 1}) {
      for (boolean inPlace : new boolean[] {false, true}) {
        Tensor from = tensor(dtype, x, count);
        Tensor out = inPlace ? from : output(dtype, count);
        engine.dropout(from, probability, 42, 1L << 40, out);
        double[] expected = new double[count];
        Arrays.setAll(
            expected,
            i ->
                CounterRandom.unit(42, (1L << 40) + i) >= probability
                    ? x[i] / (1 - probability)
                    : 0);
        double[] found = values(out);
        for (int i = 0; i < count; i++) {
          assertThat(found[i] == 0).isEqualTo(expected[i] == 0);
        }
        assertClose(out, expected);
      }
    }
  }

  @Test
  void aPartOfASequenceIsDroppedAsInTheWhole() {
    double[] x = normal(DType.FLOAT32, 100);
    Tensor whole = output(DType.FLOAT32, 100);
    engine.dropout(tensor(DType.FLOAT32, x, 100), 0.3, 7, 5, whole);
    Tensor part = output(DType.FLOAT32, 40);
    engine.dropout(tensor(DType.FLOAT32, Arrays.copyOfRange(x, 60, 100), 40), 0.3, 7, 65, part);
    assertThat(values(part)).isEqualTo(Arrays.copyOfRange(values(whole), 60, 100));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void emptyTensorsAreWelcome(DType dtype) {
    assumeKernelsTake(dtype);
    Tensor empty = arena.allocate(dtype, 0, 3);
    Tensor out = arena.allocate(dtype, 0, 3);
    engine.add(empty, empty, out);
    engine.multiply(empty, empty, out);
    engine.addScaled(2, empty, out);
    engine.scale(out, 2);
    engine.gelu(empty, out);
    engine.geluBackward(empty, empty, out);
    engine.silu(empty, out);
    engine.siluBackward(empty, empty, out);
    engine.swiGlu(empty, empty, out);
    engine.swiGluBackward(empty, empty, empty, out, arena.allocate(dtype, 0, 3));
    engine.dropout(empty, 0.5, 1, 0, out);
  }

  @Test
  void wrongShapesAndTypesAreRefused() {
    Tensor a = arena.zeros(DType.FLOAT32, 2, 3);
    Tensor b = arena.zeros(DType.FLOAT32, 3, 2);
    Tensor narrow = arena.zeros(DType.BFLOAT16, 2, 3);
    Tensor integers = arena.zeros(DType.INT64, 2, 3);
    assertRefused("add", () -> engine.add(a, b, a));
    assertRefused("add", () -> engine.add(a, narrow, a));
    assertRefused("multiply", () -> engine.multiply(a, b, a));
    assertRefused("addScaled", () -> engine.addScaled(1, a, b));
    assertRefused("scale", () -> engine.scale(integers, 2));
    assertRefused("gelu", () -> engine.gelu(a, b));
    assertRefused("geluBackward", () -> engine.geluBackward(a, b, a));
    assertRefused("silu", () -> engine.silu(a, narrow));
    assertRefused("siluBackward", () -> engine.siluBackward(a, b, a));
    assertRefused("swiGlu", () -> engine.swiGlu(a, b, a));
    assertRefused("swiGluBackward", () -> engine.swiGluBackward(a, a, b, a, a));
    assertRefused("dropout", () -> engine.dropout(a, 1.5, 0, 0, a));
    assertRefused("dropout", () -> engine.dropout(a, 0.5, 0, 0, b));
  }
}
