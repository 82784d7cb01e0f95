package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Softmax and cross-entropy. */
public abstract class LossConformance extends KernelConformance {
  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void softmaxAlsoInPlace(DType dtype) {
    for (long columns : ODD_SIZES) {
      double[] x = ReferenceKernels.map(normal(dtype, 5 * columns), v -> 4 * v);
      double[] expected = ReferenceKernels.softmax(x, 5, (int) columns);
      Tensor out = output(dtype, 5, columns);
      engine.softmax(tensor(dtype, x, 5, columns), out);
      assertClose(out, expected);
      Tensor inPlace = tensor(dtype, x, 5, columns);
      engine.softmax(inPlace, inPlace);
      assertClose(inPlace, expected);
    }
    engine.softmax(arena.allocate(dtype, 0, 3), arena.allocate(dtype, 0, 3));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void crossEntropyInPlaceForwardAndBackward(DType dtype) {
    for (int[] sizes :
        new int[][] {{1, 1}, {3, 7}, {17, 33}, {65, 257}, {300, 1000}, {3, 70_000}}) {
      check(dtype, sizes[0], sizes[1], false);
      check(dtype, sizes[0], sizes[1], true);
    }
  }

  private void check(DType dtype, int rows, int vocabulary, boolean someIgnored) {
    double[] logits = ReferenceKernels.map(normal(dtype, (long) rows * vocabulary), v -> 2 * v);
    long[] targets = random.longs(rows, 0, vocabulary).toArray();
    if (someIgnored) {
      for (int i = 0; i < rows; i += 2) {
        targets[i] = i % 4 == 0 ? -1 : -100;
      }
    }
    double[] logProbabilities = ReferenceKernels.logSoftmax(logits, rows, vocabulary);
    double[] expected = new double[rows];
    for (int i = 0; i < rows; i++) {
      expected[i] =
          targets[i] < 0 ? 0 : -logProbabilities[(int) (i * (long) vocabulary + targets[i])];
    }
    Tensor tensor = tensor(dtype, logits, rows, vocabulary);
    Tensor losses = output(DType.FLOAT32, rows);

    engine.crossEntropy(tensor, ids(targets), losses);

    // Losses are those of FLOAT32 whatever the logits' type.
    assertClose(losses, expected, 1e-5);

    double scale = 0.25;
    engine.crossEntropyBackward(tensor, ids(targets), scale);

    double[] gradient = new double[logits.length];
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < vocabulary; j++) {
        int at = i * vocabulary + j;
        gradient[at] =
            targets[i] < 0
                ? 0
                : scale * (Math.exp(logProbabilities[at]) - (targets[i] == j ? 1 : 0));
      }
    }
    // Small probabilities too: each element against its own magnitude. The log-probability has
    // FLOAT32's error at about 20, 2e-6, and a target's element that of a difference to 1.
    double[] magnitudes = new double[gradient.length];
    Arrays.setAll(
        magnitudes, at -> targets[at / vocabulary] == at % vocabulary ? scale : gradient[at]);
    assertClose(tensor, gradient, magnitudes, tolerance(dtype));
    if (someIgnored) {
      double[] found = values(tensor);
      for (int j = 0; j < vocabulary; j++) {
        assertThat(found[j]).isZero();
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void crossEntropyOfColumnsThatLieApart(DType dtype) {
    for (int[] sizes : new int[][] {{1, 2}, {17, 33}, {65, 257}, {300, 1000}, {3, 70_000}}) {
      checkParts(dtype, sizes[0], sizes[1], sizes[1] / 2);
      checkParts(dtype, sizes[0], sizes[1], 1);
    }
  }

  /** Two parts, added up as ranks would. */
  private void checkParts(DType dtype, int rows, int vocabulary, int cut) {
    double[] logits = ReferenceKernels.map(normal(dtype, (long) rows * vocabulary), v -> 2 * v);
    long[] targets = random.longs(rows, 0, vocabulary).toArray();
    targets[rows - 1] = rows > 1 ? -1 : targets[0];
    Tensor whole = tensor(dtype, logits, rows, vocabulary);
    Tensor expectedLosses = output(DType.FLOAT32, rows);
    engine.crossEntropy(whole, ids(targets), expectedLosses);
    engine.crossEntropyBackward(whole, ids(targets), 0.25);

    int[] firsts = {0, cut};
    int[] counts = {cut, vocabulary - cut};
    Tensor[] parts = new Tensor[2];
    double[] maxima = new double[rows];
    Arrays.fill(maxima, Double.NEGATIVE_INFINITY);
    for (int part = 0; part < 2; part++) {
      parts[part] = columns(dtype, logits, rows, firsts[part], counts[part]);
      Tensor own = output(DType.FLOAT32, rows);
      engine.rowMaxima(parts[part], own);
      double[] found = values(own);
      Arrays.setAll(maxima, row -> Math.max(maxima[row], found[row]));
    }
    Tensor allMaxima = tensor(DType.FLOAT32, maxima, rows);
    Tensor sums = arena.zeros(DType.FLOAT32, rows);
    Tensor picked = arena.zeros(DType.FLOAT32, rows);
    for (int part = 0; part < 2; part++) {
      Tensor ownSums = output(DType.FLOAT32, rows);
      Tensor ownPicked = output(DType.FLOAT32, rows);
      engine.crossEntropyPart(
          parts[part], firsts[part], ids(targets), allMaxima, ownSums, ownPicked);
      engine.add(sums, ownSums, sums);
      engine.add(picked, ownPicked, picked);
    }
    Tensor losses = output(DType.FLOAT32, rows);
    engine.crossEntropyOfParts(sums, picked, ids(targets), losses);
    assertClose(losses, values(expectedLosses), 1e-5);

    double[] expected = values(whole);
    for (int part = 0; part < 2; part++) {
      engine.crossEntropyPartBackward(
          parts[part], firsts[part], ids(targets), allMaxima, sums, 0.25);
      double[] some = values(columns(DType.FLOAT32, expected, rows, firsts[part], counts[part]));
      assertClose(parts[part], some, 4 * tolerance(dtype));
    }
  }

  private Tensor columns(DType dtype, double[] matrix, int rows, int first, int count) {
    int all = matrix.length / rows;
    double[] some = new double[rows * count];
    Arrays.setAll(some, i -> matrix[i / count * all + first + i % count]);
    return tensor(dtype, some, rows, count);
  }

  @Test
  void partsHideTheNanOfARowWithoutTargetAndRefuseWhatDoesNotFit() {
    Tensor logits = tensor(DType.FLOAT32, new double[] {Double.NaN, 1, 2, 2}, 2, 2);
    Tensor maxima = tensor(DType.FLOAT32, new double[] {1, 2}, 2);
    Tensor sums = output(DType.FLOAT32, 2);
    Tensor picked = output(DType.FLOAT32, 2);
    Tensor losses = output(DType.FLOAT32, 2);
    engine.crossEntropyPart(logits, 0, ids(-1, 0), maxima, sums, picked);
    engine.crossEntropyOfParts(sums, picked, ids(-1, 0), losses);
    assertThat(values(losses)[0]).isZero();
    engine.crossEntropyPartBackward(logits, 0, ids(-1, 0), maxima, sums, 1);
    assertThat(withoutSignsOfZero(logits)).containsExactly(0, 0, -0.5, 0.5);

    Tensor three = arena.zeros(DType.FLOAT32, 3);
    assertRefused("rowMaxima", () -> engine.rowMaxima(logits, three));
    assertRefused(
        "crossEntropyPart",
        () -> engine.crossEntropyPart(logits, 0, ids(0, 1), three, sums, picked));
    assertRefused(
        "crossEntropyPart",
        () -> engine.crossEntropyPart(logits, -1, ids(0, 1), maxima, sums, picked));
    assertRefused(
        "crossEntropyOfParts", () -> engine.crossEntropyOfParts(sums, three, ids(0, 1), losses));
    assertRefused(
        "crossEntropyPartBackward",
        () -> engine.crossEntropyPartBackward(logits, 0, ids(0), maxima, sums, 1));
  }

  @Test
  void largeLogitsDoNotOverflow() {
    Tensor logits = tensor(DType.FLOAT32, new double[] {1e4, -1e4, 0, 1e4}, 2, 2);
    Tensor losses = output(DType.FLOAT32, 2);
    engine.crossEntropy(logits, ids(1, 1), losses);
    assertThat(withoutSignsOfZero(losses)).containsExactly(2e4, 0);
    engine.crossEntropyBackward(logits, ids(1, 1), 1);
    assertThat(withoutSignsOfZero(logits)).containsExactly(1, -1, 0, 0);
  }

  @Test
  void anIgnoredRowHidesItsNaN() {
    Tensor logits = tensor(DType.FLOAT32, new double[] {Double.NaN, 1, 2, 2}, 2, 2);
    Tensor losses = output(DType.FLOAT32, 2);
    engine.crossEntropy(logits, ids(-1, 0), losses);
    assertThat(values(losses)[0]).isZero();
    engine.crossEntropyBackward(logits, ids(-1, 0), 1);
    assertThat(withoutSignsOfZero(logits)).containsExactly(0, 0, -0.5, 0.5);
  }

  @Test
  void noRowsAreWelcome() {
    Tensor logits = arena.allocate(DType.FLOAT32, 0, 5);
    engine.crossEntropy(logits, ids(), arena.allocate(DType.FLOAT32, 0));
    engine.crossEntropyBackward(logits, ids(), 1);
  }

  @Test
  void wrongTargetsAndShapesAreRefused() {
    Tensor logits = arena.zeros(DType.FLOAT32, 2, 5);
    Tensor losses = arena.zeros(DType.FLOAT32, 2);
    assertThatThrownBy(() -> engine.crossEntropy(logits, ids(0, 5), losses))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("crossEntropy")
        .hasMessageContaining("5");
    assertRefused("crossEntropyBackward", () -> engine.crossEntropyBackward(logits, ids(0), 1));
    assertRefused("crossEntropy", () -> engine.crossEntropy(logits, ids(0), losses));
    assertRefused(
        "crossEntropy",
        () -> engine.crossEntropy(logits, ids(0, 1), arena.zeros(DType.FLOAT32, 3)));
    assertRefused("softmax", () -> engine.softmax(logits, losses));
  }

  /** The values, -0 as 0: which of the two a kernel gives is nobody's concern. */
  private double[] withoutSignsOfZero(Tensor tensor) {
    return ReferenceKernels.map(values(tensor), value -> value + 0.0);
  }
}
