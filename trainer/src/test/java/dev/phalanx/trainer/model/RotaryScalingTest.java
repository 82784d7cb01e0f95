package dev.phalanx.trainer.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.trainer.model.RotaryScaling.Llama3;
import java.util.Optional;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class RotaryScalingTest {
  /** The library computes in fp32. */
  private static final Percentage FP32 = Percentage.withPercentage(1e-4);

  private static TransformerConfig model(long headSize, RotaryScaling scaling) {
    return new TransformerConfig(
        Family.LLAMA,
        1,
        headSize,
        1,
        1,
        8,
        131072,
        256,
        0,
        true,
        1e-5,
        500000,
        scaling,
        false,
        Optional.empty());
  }

  /** Hugging Face's transformers 5.18, {@code _compute_llama3_parameters}, base 500000. */
  @Test
  void frequenciesAreThoseOfTheLibraryThatModelsArePublishedFor() {
    double[] expected = {
      1.0,
      0.193922758102417,
      0.03760603070259094,
      0.00729266507551074,
      0.0005248460220173001,
      3.428102354519069e-05,
      6.647869668086059e-06,
      1.289173155782919e-06
    };
    TransformerConfig model = model(16, new Llama3(8, 1, 4, 8192));
    for (int pair = 0; pair < expected.length; pair++) {
      assertThat(model.rotaryFrequency(pair)).isCloseTo(expected[pair], FP32);
    }
  }

  /** The same for Llama 3.2's factor of 32 and heads of 128: pairs about the gradual part. */
  @ParameterizedTest
  @CsvSource({
    "0, 1.0",
    "28, 0.0032114461064338684",
    "29, 0.002118406817317009",
    "31, 0.000762541254516691",
    "34, 9.708286233944818e-05",
    "35, 2.389053042861633e-05",
    "63, 7.672314694673332e-08"
  })
  void frequenciesOfLargeHeadsAreThoseOfTheLibrary(int pair, double expected) {
    TransformerConfig model = model(128, new Llama3(32, 1, 4, 8192));
    assertThat(model.rotaryFrequency(pair)).isCloseTo(expected, FP32);
  }

  @Test
  void withoutScalingAFrequencyIsAPowerOfTheBase() {
    assertThat(model(16, new RotaryScaling.None()).rotaryFrequency(4))
        .isEqualTo(1 / Math.sqrt(500000));
  }

  @ParameterizedTest
  @CsvSource({"0.5, 1, 4, 8192", "8, 0, 4, 8192", "8, 4, 4, 8192", "8, 1, 4, 0", "NaN, 1, 4, 8"})
  void numbersThatCannotBeAreRefused(double factor, double low, double high, long original) {
    assertThatThrownBy(() -> new Llama3(factor, low, high, original))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("rotary scaling");
  }
}
