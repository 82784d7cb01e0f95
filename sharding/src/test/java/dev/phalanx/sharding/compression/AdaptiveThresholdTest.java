package dev.phalanx.sharding.compression;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class AdaptiveThresholdTest {
  private static final AdaptiveThreshold RANGE = new AdaptiveThreshold(1e-4, 1e-2);

  /** Steps are in octaves. */
  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "0, -0.05",
    "0.9e-4, -0.05",
    "1e-4, 0",
    "1e-3, 0",
    "1e-2, 0",
    "1.001e-2, 0.05",
    "1.1e-2, 0.05",
    "4e-2, 0.5",
    "16e-2, 1",
    "1, 1",
  })
  void aThresholdRisesFasterTheFartherItIsOffAndFallsSlowly(double density, double octaves) {
    assertThat(RANGE.next(3, density)).isCloseTo((float) (3 * Math.pow(2, octaves)), within(1e-6f));
  }

  @Test
  void twentyStepsDownAndOneUpAreTheSameThreshold() {
    float threshold = 0.125f;
    for (int step = 0; step < 20; step++) {
      threshold = RANGE.next(threshold, 0);
    }
    assertThat(RANGE.next(threshold, 1)).isCloseTo(0.125f, within(1e-6f));
  }

  @Test
  void aRangeOfOneValueIsATarget() {
    AdaptiveThreshold target = new AdaptiveThreshold(0.01, 0.01);
    assertThat(target.next(1, 0.01)).isEqualTo(1);
    assertThat(target.next(1, 0.0101)).isGreaterThan(1);
    assertThat(target.next(1, 0.0099)).isLessThan(1);
  }

  @Test
  void aThresholdStaysAmongNormalNumbers() {
    float small = 1;
    float large = 1;
    for (int step = 0; step < 10_000; step++) {
      small = RANGE.next(small, 0);
      large = RANGE.next(large, 1);
    }
    assertThat(small).isEqualTo(Float.MIN_NORMAL);
    assertThat(large).isEqualTo(Float.MAX_VALUE);
    assertThat(RANGE.next(small, 0.0101)).isGreaterThan(small); // and finds its way back
    assertThat(RANGE.next(large, 0)).isLessThan(large);
    assertThat(RANGE.next(Float.MIN_VALUE, 0)).isEqualTo(Float.MIN_NORMAL);
  }
}
