package dev.phalanx.engine.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.bytedeco.javacpp.FloatPointer;
import org.junit.jupiter.api.Test;

/** oneDNN's GELU against its formula in double precision. */
class OneDnnGeluTest {
  private static final int LEFT = 5;
  private static final int COUNT = 2 * OneDnnGelu.PIECE + LEFT;
  private static final double SLOPE = Math.sqrt(2 / Math.PI);

  private static double tangent(double x) {
    return Math.tanh(SLOPE * (x + 0.044715 * x * x * x));
  }

  private static double gelu(double x) {
    return 0.5 * x * (1 + tangent(x));
  }

  private static double slope(double x) {
    double t = tangent(x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SLOPE * (1 + 3 * 0.044715 * x * x);
  }

  private static float[] values(double width) {
    Random random = new Random(3);
    float[] values = new float[COUNT];
    for (int i = 0; i < COUNT; i++) {
      values[i] = (float) (random.nextGaussian() * width);
    }
    return values;
  }

  @Test
  void wholePiecesAreThoseOfTheFormulaAndTheRestIsLeftAlone() {
    float[] x = values(3);
    x[0] = 0;
    x[1] = 40;
    x[2] = -40;
    x[OneDnnGelu.PIECE] = Float.NaN;
    float[] dy = values(1);
    try (OneDnnGelu gelu = new OneDnnGelu(() -> {});
        FloatPointer input = new FloatPointer(x);
        FloatPointer given = new FloatPointer(dy);
        FloatPointer result = new FloatPointer(new float[COUNT])) {
      long done = gelu.forward(input.address(), result.address(), COUNT);
      assertThat(done).isEqualTo(COUNT - LEFT);
      for (int i = 0; i < done; i++) {
        if (i == OneDnnGelu.PIECE) {
          assertThat(result.get(i)).isNaN();
        } else {
          assertThat((double) result.get(i)).isCloseTo(gelu(x[i]), within(1e-6));
        }
      }
      assertThat(gelu.backward(given.address(), input.address(), result.address(), COUNT))
          .isEqualTo(COUNT - LEFT);
      for (int i = 0; i < done; i++) {
        if (i == OneDnnGelu.PIECE) {
          assertThat(result.get(i)).isNaN();
        } else {
          double expected = dy[i] * slope(x[i]);
          assertThat((double) result.get(i))
              .isCloseTo(expected, within(1e-6 * Math.max(1, Math.abs(dy[i]))));
        }
      }
      for (int i = COUNT - LEFT; i < COUNT; i++) {
        assertThat(result.get(i)).isZero();
      }
    }
  }

  @Test
  void inputAndResultMayBeTheSameMemory() {
    float[] x = values(1);
    try (OneDnnGelu gelu = new OneDnnGelu(() -> {});
        FloatPointer memory = new FloatPointer(x)) {
      gelu.forward(memory.address(), memory.address(), COUNT);
      assertThat((double) memory.get(7)).isCloseTo(gelu(x[7]), within(1e-6));
      assertThat(memory.get(COUNT - 1)).isEqualTo(x[COUNT - 1]);
    }
  }

  @Test
  void nothingIsComputedAfterTheEnd() {
    try (FloatPointer memory = new FloatPointer(new float[COUNT])) {
      OneDnnGelu gelu = new OneDnnGelu(() -> {});
      gelu.close();
      gelu.close();
      long place = memory.address();
      assertThatThrownBy(() -> gelu.forward(place, place, COUNT))
          .isInstanceOf(IllegalStateException.class);
      assertThatThrownBy(() -> gelu.backward(place, place, place, COUNT))
          .isInstanceOf(IllegalStateException.class);
    }
  }
}
