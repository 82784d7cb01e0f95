package dev.phalanx.engine.torch;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Tensor;
import java.nio.FloatBuffer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Factors of half the width that are too large to be widened at once, and odd results. */
class WidenedProductsTest {
  private static final int ROWS = 17;
  private static final int COLUMNS = 19;
  private static final int INNER = 300_001;
  private static final int FIRST = 7; // of the left factor's columns that are not nought
  private static final int PERIOD = 99_991;

  private final Engine engine = open();
  private final Arena arena = new Arena(engine, Device.CPU);

  private static Engine open() {
    TorchLibraries.locate();
    return new TorchEngine(EngineOptions.singleThreaded(), false);
  }

  @AfterEach
  void end() {
    arena.close();
    engine.close();
  }

  /** A number of a matrix. */
  private interface Element {
    float at(int row, int column);
  }

  /** Small whole numbers, few of which are not nought: what comes out is exact in every type. */
  private static float left(int row, int inner) {
    return inner % PERIOD == FIRST ? (row + inner) % 3 - 1 : 0;
  }

  private static float right(int inner, int column) {
    return (2 * inner + column * column) % 5 - 2;
  }

  private static float product(int row, int column) {
    float sum = 0;
    for (int inner = FIRST; inner < INNER; inner += PERIOD) {
      sum += left(row, inner) * right(inner, column);
    }
    return sum;
  }

  @ParameterizedTest(name = "{0}, {1}, {2}")
  @CsvSource({
    "FLOAT16, false, false",
    "BFLOAT16, true, false",
    "BFLOAT16, false, true",
    "FLOAT16, true, true"
  })
  void blocksMakeTheWholeProduct(DType dtype, boolean transposeA, boolean transposeB) {
    Element turnedLeft = (row, column) -> left(column, row);
    Element turnedRight = (row, column) -> right(column, row);
    Tensor a =
        transposeA
            ? tensor(dtype, INNER, ROWS, turnedLeft)
            : tensor(dtype, ROWS, INNER, WidenedProductsTest::left);
    Tensor b =
        transposeB
            ? tensor(dtype, COLUMNS, INNER, turnedRight)
            : tensor(dtype, INNER, COLUMNS, WidenedProductsTest::right);
    Tensor out = tensor(DType.FLOAT32, ROWS, COLUMNS, (row, column) -> 7);

    engine.matmul(a, transposeA, b, transposeB, out, 2, true);

    assertIs(out, ROWS, COLUMNS, (row, column) -> 2 * product(row, column) + 7);
  }

  @ParameterizedTest
  @EnumSource(names = {"BFLOAT16", "FLOAT16"})
  void eachBlockHasItsBiasAndItsResidual(DType dtype) {
    Tensor x = tensor(dtype, ROWS, INNER, WidenedProductsTest::left);
    Tensor weight = tensor(dtype, COLUMNS, INNER, (row, column) -> right(column, row));
    Element addend = (row, column) -> (row + 3 * column) % 7;
    Tensor residual = tensor(dtype, ROWS, COLUMNS, addend);
    Tensor bias = tensor(dtype, 1, COLUMNS, (row, column) -> column % 4);
    Tensor out = arena.allocate(dtype, ROWS, COLUMNS);

    engine.linear(x, weight, bias.reshape(COLUMNS), residual, out);

    assertIs(
        out,
        ROWS,
        COLUMNS,
        (row, column) -> product(row, column) + column % 4 + addend.at(row, column));
  }

  /** Its one row has the distance to the next that its columns had to each other. */
  @Test
  void aColumnThatIsLookedAtAsARowIsAResult() {
    Tensor a = tensor(DType.FLOAT16, 1, 3, (row, column) -> column + 1);
    Tensor b = tensor(DType.FLOAT16, 3, 4, (row, column) -> row * column);
    Tensor column = tensor(DType.FLOAT32, 4, 1, (row, none) -> 9);

    engine.matmul(a, false, b, false, column.transpose(0, 1), 1, false);

    assertIs(column, 4, 1, (row, none) -> 8 * row); // 1 * 0 + 2 * row + 3 * 2 * row
  }

  private Tensor tensor(DType dtype, int rows, int columns, Element element) {
    Tensor wide = arena.allocate(DType.FLOAT32, rows, columns);
    FloatBuffer values = floats(wide);
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        values.put(row * columns + column, element.at(row, column));
      }
    }
    if (dtype == DType.FLOAT32) {
      return wide;
    }
    Tensor narrow = arena.allocate(dtype, rows, columns);
    engine.copy(wide, narrow);
    return narrow;
  }

  private void assertIs(Tensor found, int rows, int columns, Element expected) {
    Tensor wide = arena.allocate(DType.FLOAT32, rows, columns);
    engine.copy(found, wide);
    FloatBuffer values = floats(wide);
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        assertThat(values.get(row * columns + column))
            .as("%d, %d", row, column)
            .isEqualTo(expected.at(row, column));
      }
    }
  }

  private static FloatBuffer floats(Tensor tensor) {
    return tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize())).asFloatBuffer();
  }
}
