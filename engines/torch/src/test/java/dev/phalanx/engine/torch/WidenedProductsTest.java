package dev.phalanx.engine.torch;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Tensor;
import java.nio.FloatBuffer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Factors that are too large to be widened at once. */
class WidenedProductsTest {
  private static final int ROWS = 17;
  private static final int COLUMNS = 19;
  private static final int INNER = 300_001;

  /** Small whole numbers, whose sums are exact in FLOAT32. */
  private static float left(int row, int inner) {
    return (row + inner) % 3 - 1;
  }

  private static float right(int inner, int column) {
    return (2 * inner + column * column) % 5 - 2;
  }

  @ParameterizedTest
  @CsvSource({"false, false", "true, false", "false, true", "true, true"})
  void blocksMakeTheWholeProduct(boolean transposeA, boolean transposeB) {
    try (Engine engine = new TorchEngineProvider().open(EngineOptions.singleThreaded());
        Arena arena = new Arena(engine, Device.CPU)) {
      Tensor a =
          arena.allocate(DType.FLOAT32, transposeA ? INNER : ROWS, transposeA ? ROWS : INNER);
      Tensor b =
          arena.allocate(DType.FLOAT32, transposeB ? COLUMNS : INNER, transposeB ? INNER : COLUMNS);
      FloatBuffer ofA = floats(a);
      FloatBuffer ofB = floats(b);
      for (int k = 0; k < INNER; k++) {
        for (int i = 0; i < ROWS; i++) {
          ofA.put(transposeA ? k * ROWS + i : i * INNER + k, left(i, k));
        }
        for (int j = 0; j < COLUMNS; j++) {
          ofB.put(transposeB ? j * INNER + k : k * COLUMNS + j, right(k, j));
        }
      }
      Tensor out = arena.allocate(DType.FLOAT32, ROWS, COLUMNS);
      engine.fill(out, 7);

      engine.matmul(half(arena, a), transposeA, half(arena, b), transposeB, out, 2, true);

      FloatBuffer found = floats(out);
      for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLUMNS; j++) {
          float sum = 0;
          for (int k = 0; k < INNER; k++) {
            sum += left(i, k) * right(k, j);
          }
          assertThat(found.get(i * COLUMNS + j)).isEqualTo(2 * sum + 7);
        }
      }
    }
  }

  private static Tensor half(Arena arena, Tensor tensor) {
    Tensor narrow = arena.allocate(DType.FLOAT16, tensor.shape());
    arena.engine().copy(tensor, narrow);
    return narrow;
  }

  private static FloatBuffer floats(Tensor tensor) {
    return tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize())).asFloatBuffer();
  }
}
