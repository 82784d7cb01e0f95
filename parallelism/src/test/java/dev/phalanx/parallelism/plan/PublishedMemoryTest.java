package dev.phalanx.parallelism.plan;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.parallelism.pipeline.InterleavedOneForwardOneBackward;
import dev.phalanx.parallelism.pipeline.OneForwardOneBackward;
import dev.phalanx.parallelism.plan.PublishedMemory.Layer;
import dev.phalanx.parallelism.plan.PublishedMemory.Recomputed;
import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The papers' tables, digit by digit as they are printed. */
final class PublishedMemoryTest {
  private static final double GIB = 1L << 30;

  /** To the last digit that is printed; the papers round most numbers up and cut some. */
  private static void requirePrinted(String printed, double computed) {
    int digits = new BigDecimal(printed).scale();
    BigDecimal exact = new BigDecimal(computed).round(new MathContext(12));
    assertThat(List.of(RoundingMode.HALF_UP, RoundingMode.DOWN))
        .extracting(mode -> exact.setScale(digits, mode).toPlainString())
        .contains(printed);
  }

  /** Rajbhandari et al., 2020, table 1, in GB of 10^9 bytes. */
  @ParameterizedTest
  @CsvSource({
    "7.5, 1, 120, 120, 120",
    "7.5, 4, 52.5, 41.3, 30",
    "7.5, 16, 35.6, 21.6, 7.5",
    "7.5, 64, 31.4, 16.6, 1.88",
    "7.5, 256, 30.4, 15.4, 0.47",
    "7.5, 1024, 30.1, 15.1, 0.12",
    "128, 1, 2048, 2048, 2048",
    "128, 4, 896, 704, 512",
    "128, 16, 608, 368, 128",
    "128, 64, 536, 284, 32",
    "128, 256, 518, 263, 8",
    "128, 1024, 513, 257, 2",
    "1000, 1, 16000, 16000, 16000",
    "1000, 4, 7000, 5500, 4000",
    "1000, 16, 4750, 2875, 1000",
    "1000, 64, 4187, 2218, 250",
    "1000, 256, 4046, 2054, 62.5",
    "1000, 1024, 4011, 2013, 15.6"
  })
  void modelStates(double billions, int ranks, String stage1, String stage2, String stage3) {
    requirePrinted("" + (int) (16 * billions), PublishedMemory.modelStateBytes(billions, 0, ranks));
    requirePrinted(stage1, PublishedMemory.modelStateBytes(billions, 1, ranks));
    requirePrinted(stage2, PublishedMemory.modelStateBytes(billions, 2, ranks));
    requirePrinted(stage3, PublishedMemory.modelStateBytes(billions, 3, ranks));
  }

  /** Korthikanti et al., 2022, the first stage of its 22B and 530B models, in GiB. */
  @ParameterizedTest
  @CsvSource({
    "22B, 6144, 64, 48, 4, 1, 59.2, 39.6, 9.6, 4.5",
    "530B, 20480, 128, 105, 1, 35, 86.1, 50.2, 17.4, 8.2"
  })
  void activationsOfTheFirstStage(
      String name,
      long hidden,
      long heads,
      int layers,
      long microBatch,
      int stages,
      String tensor,
      String sequence,
      String selective,
      String full) {
    Layer layer = new Layer(2048, microBatch, hidden, heads);
    double layersHeld =
        new OneForwardOneBackward().table(stages, 4 * stages).peakMicroBatches(0) * layers / stages;
    assertThat(layersHeld).as("p micro-batches of L/p layers").isEqualTo(layers);
    requirePrinted(
        tensor,
        layersHeld * PublishedMemory.activationBytes(layer, 8, false, Recomputed.NOTHING) / GIB);
    requirePrinted(
        sequence,
        layersHeld * PublishedMemory.activationBytes(layer, 8, true, Recomputed.NOTHING) / GIB);
    requirePrinted(
        selective,
        layersHeld * PublishedMemory.activationBytes(layer, 8, true, Recomputed.ATTENTION) / GIB);
    requirePrinted(
        full,
        layersHeld * PublishedMemory.activationBytes(layer, 8, true, Recomputed.LAYERS) / GIB);
  }

  /** Table 2, row by row, and section 4.2.3: interleaving holds 1 + (p - 1) / (p v) as much. */
  @ParameterizedTest
  @CsvSource({"1, 4, 8, 2", "4, 8, 16, 3", "8, 6, 12, 4"})
  void activationsOfALayer(int tensor, int stages, int microBatches, int chunks) {
    Layer layer = new Layer(128, 3, 64, 8);
    double sbh = 128 * 3 * 64;
    double scores = 5.0 * 8 * 128 / 64;
    assertThat(PublishedMemory.activationBytes(layer, 1, false, Recomputed.NOTHING))
        .isEqualTo(sbh * (34 + scores));
    assertThat(PublishedMemory.activationBytes(layer, tensor, false, Recomputed.NOTHING))
        .isEqualTo(sbh * (10 + 24.0 / tensor + scores / tensor));
    assertThat(PublishedMemory.activationBytes(layer, tensor, true, Recomputed.NOTHING))
        .isEqualTo(sbh * (34.0 / tensor + scores / tensor));
    assertThat(PublishedMemory.activationBytes(layer, tensor, false, Recomputed.ATTENTION))
        .isEqualTo(sbh * (10 + 24.0 / tensor));
    assertThat(PublishedMemory.activationBytes(layer, tensor, true, Recomputed.ATTENTION))
        .isEqualTo(34 * sbh / tensor);
    assertThat(PublishedMemory.activationBytes(layer, tensor, true, Recomputed.LAYERS))
        .isEqualTo(2 * sbh);
    double plain = new OneForwardOneBackward().table(stages, microBatches).peakMicroBatches(0);
    double interleaved =
        new InterleavedOneForwardOneBackward(chunks)
            .table(stages, microBatches)
            .peakMicroBatches(0);
    assertThat(interleaved).isEqualTo(plain * (1 + (stages - 1.0) / (stages * chunks)));
  }
}
