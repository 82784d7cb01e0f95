package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Rows by number and rotary position embedding. */
public abstract class PositionConformance extends KernelConformance {
  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void gatherRowsReplacesOrAdds(DType dtype) {
    for (long width : ODD_SIZES) {
      double[] table = normal(dtype, 11 * width);
      long[] numbers = randomIds(37, 11);
      double[] before = normal(dtype, 37 * width);
      double[] expected = new double[37 * (int) width];
      Arrays.setAll(expected, i -> table[(int) (numbers[i / (int) width] * width + i % width)]);
      Tensor out = output(dtype, 37, width);
      engine.gatherRows(tensor(dtype, table, 11, width), ids(numbers), out, false);
      assertThat(values(out)).isEqualTo(expected);
      out = tensor(dtype, before, 37, width);
      engine.gatherRows(tensor(dtype, table, 11, width), ids(numbers), out, true);
      assertClose(out, ReferenceKernels.add(before, expected));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT32, FLOAT32",
    "BFLOAT16, FLOAT32",
    "BFLOAT16, BFLOAT16",
    "FLOAT16, FLOAT32",
    "FLOAT16, FLOAT16"
  })
  void scatterAddRowsAddsWhereNumbersRepeat(DType dtype, DType tableType) {
    for (long width : ODD_SIZES) {
      double[] table = normal(tableType, 11 * width);
      double[] rows = normal(dtype, 37 * width);
      long[] numbers = randomIds(37, 9);
      double[] expected = table.clone();
      double[] magnitude = ReferenceKernels.absolute(table);
      for (int i = 0; i < 37; i++) {
        for (int j = 0; j < width; j++) {
          int at = (int) (numbers[i] * width + j);
          expected[at] += rows[(int) (i * width + j)];
          magnitude[at] += Math.abs(rows[(int) (i * width + j)]);
        }
      }
      Tensor sums = tensor(tableType, table, 11, width);
      engine.scatterAddRows(tensor(dtype, rows, 37, width), ids(numbers), sums);
      // A table of BFLOAT16 is rounded at each addition.
      assertClose(sums, expected, magnitude, 4 * tolerance(tableType));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void rowsOfALargerTableThatAreElsewhereAreZerosAndLeftOut(DType dtype) {
    for (long width : ODD_SIZES) {
      int columns = (int) width;
      double[] table = normal(dtype, 4 * width);
      double[] rows = normal(dtype, 37 * width);
      long[] numbers = randomIds(37, 11); // of which rows 5 to 8 are here
      double[] gathered = new double[37 * columns];
      double[] sums = ReferenceKernels.map(normal(DType.FLOAT32, 4 * width), v -> v);
      double[] expectedSums = sums.clone();
      for (int i = 0; i < gathered.length; i++) {
        long row = numbers[i / columns] - 5;
        if (row >= 0 && row < 4) {
          gathered[i] = table[(int) row * columns + i % columns];
          expectedSums[(int) row * columns + i % columns] += rows[i];
        }
      }
      Tensor out = output(dtype, 37, width);
      engine.gatherRowsWithin(tensor(dtype, table, 4, width), 5, ids(numbers), out);
      assertThat(values(out)).isEqualTo(gathered);
      Tensor added = tensor(DType.FLOAT32, sums, 4, width);
      engine.scatterAddRowsWithin(tensor(dtype, rows, 37, width), ids(numbers), added, 5);
      assertClose(added, expectedSums, 1e-5);
    }
    Tensor infinite = tensor(dtype, new double[] {Double.POSITIVE_INFINITY, -1, 2, 3}, 2, 2);
    Tensor found = output(dtype, 2, 2);
    engine.gatherRowsWithin(infinite, 5, ids(0, 6), found);
    assertThat(values(found)).containsExactly(0, 0, 2, 3);
    Tensor table = arena.zeros(DType.FLOAT32, 5, 2);
    Tensor three = arena.zeros(DType.FLOAT32, 3, 2);
    assertRefused("gatherRowsWithin", () -> engine.gatherRowsWithin(table, 0, ids(0, 1), three));
    assertRefused(
        "scatterAddRowsWithin", () -> engine.scatterAddRowsWithin(three, ids(0, 1), table, 0));
  }

  @Test
  void aNumberThatIsNoRowIsRefusedWithTheVocabularySize() {
    Tensor table = arena.zeros(DType.FLOAT32, 5, 2);
    Tensor rows = arena.zeros(DType.FLOAT32, 3, 2);
    for (long bad : new long[] {5, -1, 1L << 40}) {
      assertThatThrownBy(() -> engine.gatherRows(table, ids(0, bad, 1), rows, false))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("gatherRows")
          .hasMessageContaining(Long.toString(bad))
          .hasMessageContaining("5");
      assertThatThrownBy(() -> engine.scatterAddRows(rows, ids(0, bad, 1), table))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("scatterAddRows")
          .hasMessageContaining(Long.toString(bad))
          .hasMessageContaining("5");
    }
    assertRefused("gatherRows", () -> engine.gatherRows(table, ids(0, 1), rows, false));
    assertRefused("gatherRows", () -> engine.gatherRows(table, rows, rows, false));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void noRowsAreWelcome(DType dtype) {
    assumeKernelsTake(dtype);
    Tensor table = arena.zeros(dtype, 5, 2);
    engine.gatherRows(table, ids(), arena.allocate(dtype, 0, 2), false);
    engine.scatterAddRows(arena.allocate(dtype, 0, 2), ids(), table);
    assertThat(values(table)).containsOnly(0);
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void rotaryTurnsHeadsAndBack(DType dtype) {
    for (int[] sizes : new int[][] {{1, 1, 1, 2}, {2, 5, 3, 6}, {1, 33, 2, 34}, {2, 65, 4, 16}}) {
      checkRotary(dtype, sizes[0], sizes[1], sizes[2], sizes[3]);
    }
  }

  private void checkRotary(DType dtype, int batch, int positions, int heads, int width) {
    int half = width / 2;
    double[] cosine = new double[positions * half];
    double[] sine = new double[positions * half];
    for (int i = 0; i < cosine.length; i++) {
      double angle = (i / half) * Math.pow(10000, -(i % half) / (double) half);
      cosine[i] = (float) Math.cos(angle);
      sine[i] = (float) Math.sin(angle);
    }
    double[] x = normal(dtype, (long) batch * positions * heads * width);
    double[] expected = new double[x.length];
    for (int row = 0; row < x.length / width; row++) {
      int position = row / heads % positions;
      for (int j = 0; j < half; j++) {
        double u = x[row * width + j];
        double w = x[row * width + half + j];
        double cos = cosine[position * half + j];
        double sin = sine[position * half + j];
        expected[row * width + j] = u * cos - w * sin;
        expected[row * width + half + j] = w * cos + u * sin;
      }
    }
    Tensor cosines = tensor(DType.FLOAT32, cosine, positions, half);
    Tensor sines = tensor(DType.FLOAT32, sine, positions, half);

    // A view into packed query, key and value, as attention has it.
    Tensor packed = output(dtype, batch, positions, 3 * heads, width);
    Tensor view = packed.slice(2, heads, heads);
    engine.copy(tensor(dtype, x, batch, positions, heads, width), view);
    Tensor out = output(dtype, batch, positions, heads, width);
    engine.rotary(view, cosines, sines, false, out);
    assertClose(out, expected);
    engine.rotary(view, cosines, sines, false, view);
    assertClose(view, expected);
    engine.rotary(view, cosines, sines, true, view);
    assertClose(view, x);
  }

  @Test
  void rotaryRefusesOtherShapes() {
    Tensor x = arena.zeros(DType.FLOAT32, 1, 4, 2, 6);
    Tensor table = arena.zeros(DType.FLOAT32, 4, 3);
    Tensor wrong = arena.zeros(DType.FLOAT32, 3, 3);
    assertRefused("rotary", () -> engine.rotary(x, wrong, wrong, false, x));
    assertRefused("rotary", () -> engine.rotary(x, table, wrong, false, x));
    engine.rotary(
        arena.allocate(DType.FLOAT32, 0, 4, 2, 6),
        table,
        table,
        false,
        arena.allocate(DType.FLOAT32, 0, 4, 2, 6));
  }

  private long[] randomIds(int count, int below) {
    return random.longs(count, 0, below).toArray();
  }
}
