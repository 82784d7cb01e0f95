package dev.phalanx.engine.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assumptions.assumeThat;

import dev.phalanx.tensor.DType;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** oneDNN's GELU against its formula in double precision. */
class OneDnnGeluTest {
  private static final int LEFT = 5;
  private static final int COUNT = 2 * OneDnnGelu.PIECE + LEFT;
  private static final double SLOPE = Math.sqrt(2 / Math.PI);

  private final OneDnn library = new OneDnn(() -> {});

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

  private static NativeNumbers numbers(DType type, double width) {
    NativeNumbers made = NativeNumbers.of(type, COUNT);
    Random random = new Random(3);
    for (int i = 0; i < COUNT; i++) {
      made.put(i, (float) (random.nextGaussian() * width));
    }
    return made;
  }

  /** Computed in FLOAT32, and rounded once more where the type is narrower. */
  private static void assertIs(NativeNumbers numbers, int place, double expected, double size) {
    double rounding = numbers.type() == DType.FLOAT32 ? 0 : 0x1p-8 * Math.abs(expected);
    assertThat((double) numbers.get(place)).isCloseTo(expected, within(1e-6 * size + rounding));
  }

  private OneDnnGelu open(DType type) {
    Optional<OneDnnGelu> gelu = OneDnnGelu.of(library, type);
    if (type == DType.BFLOAT16) {
      assumeThat(gelu).as("kernels for BFLOAT16 on this processor").isPresent();
    }
    return gelu.orElseThrow();
  }

  @AfterEach
  void closeLibrary() {
    library.close();
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void wholePiecesAreThoseOfTheFormulaAndTheRestIsLeftAlone(DType type) {
    try (OneDnnGelu gelu = open(type);
        NativeNumbers x = numbers(type, 3);
        NativeNumbers dy = numbers(type, 1);
        NativeNumbers result = numbers(type, 0)) {
      x.put(0, 0);
      x.put(1, 40);
      x.put(2, -40);
      x.put(OneDnnGelu.PIECE, Float.NaN);
      long done = gelu.forward(x.address(), result.address(), COUNT);
      assertThat(done).isEqualTo(COUNT - LEFT);
      for (int i = 0; i < done; i++) {
        if (i == OneDnnGelu.PIECE) {
          assertThat(result.get(i)).isNaN();
        } else {
          assertIs(result, i, gelu(x.get(i)), 1);
        }
      }
      assertThat(gelu.backward(dy.address(), x.address(), result.address(), COUNT))
          .isEqualTo(COUNT - LEFT);
      for (int i = 0; i < done; i++) {
        if (i == OneDnnGelu.PIECE) {
          assertThat(result.get(i)).isNaN();
        } else {
          assertIs(result, i, dy.get(i) * slope(x.get(i)), Math.max(1, Math.abs(dy.get(i))));
        }
      }
      for (int i = COUNT - LEFT; i < COUNT; i++) {
        assertThat(result.get(i)).isZero();
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void inputAndResultMayBeTheSameMemory(DType type) {
    try (OneDnnGelu gelu = open(type);
        NativeNumbers numbers = numbers(type, 1)) {
      double seventh = numbers.get(7);
      float last = numbers.get(COUNT - 1);
      gelu.forward(numbers.address(), numbers.address(), COUNT);
      assertIs(numbers, 7, gelu(seventh), 1);
      assertThat(numbers.get(COUNT - 1)).isEqualTo(last);
    }
  }

  @Test
  void otherTypesAreNotKnown() {
    assertThat(OneDnnGelu.of(library, DType.FLOAT16)).isEmpty();
  }

  @Test
  void nothingIsComputedAfterTheEnd() {
    try (NativeNumbers numbers = numbers(DType.FLOAT32, 1)) {
      HostKernels kernels = new HostKernels(() -> {}, true);
      FasterGelu gelu = kernels.gelu();
      long place = numbers.address();
      assumeThat(gelu.forward(DType.FLOAT32, place, place, COUNT)).isPositive();
      kernels.close();
      kernels.close();
      assertThatThrownBy(() -> gelu.forward(DType.FLOAT32, place, place, COUNT))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("closed");
      assertThatThrownBy(() -> gelu.backward(DType.FLOAT32, place, place, place, COUNT))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("closed");
    }
  }
}
