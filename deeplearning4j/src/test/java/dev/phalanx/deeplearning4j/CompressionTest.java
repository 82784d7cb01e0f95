package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.sharding.compression.Compression;
import java.util.List;
import java.util.stream.Stream;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nd4j.linalg.dataset.DataSet;

final class CompressionTest {
  private static final int STEPS = 40;

  /** Division before the sum rounds otherwise than after it, and normalisation magnifies that. */
  private static final int FEW_STEPS = 9;

  static Stream<Compression> codecs() {
    return Stream.of(
        new Compression.Float16(),
        new Compression.Bfloat16(),
        new Compression.Int8(64),
        new Compression.TopK(0.1),
        new Compression.Threshold(1e-2),
        new Compression.Threshold(1e-3, 0.01, 0.2), // Deeplearning4j's AdaptiveThresholdAlgorithm
        new Compression.Threshold(1e-3, 0.1, 0.1), // TargetSparsityThresholdAlgorithm
        new Compression.OneBit(20),
        new Compression.PowerSgd(2, 0));
  }

  @ParameterizedTest
  @MethodSource("codecs")
  void everyCodecLearns(Compression codec) throws Exception {
    List<DataSet> batches = Networks.vectors(8, 8);
    MultiLayerNetwork network = Networks.dense(builder -> builder);
    double before = score(network, batches);

    try (var training =
        ParallelTraining.threads(network, 2, TrainingOptions.DEFAULT.withCompression(codec))) {
      for (int step = 0; step < STEPS; step++) {
        training.fit(batches.get(step % 2));
      }
    }

    assertThat(score(network, batches)).isLessThan(0.7 * before);
  }

  private static double score(MultiLayerNetwork network, List<DataSet> batches) {
    return batches.stream().mapToDouble(network::score).sum();
  }

  static Stream<Compression> codecsOfMomenta() {
    return Stream.of(new Compression.OneBit(0, 0.9), new Compression.TopK(0.1, 0, 0.9));
  }

  @ParameterizedTest
  @MethodSource("codecsOfMomenta")
  void momentaInThePlaceOfGradientsAreRefused(Compression codec) {
    TrainingOptions options = TrainingOptions.DEFAULT.withCompression(codec);

    assertThatThrownBy(
            () -> ParallelTraining.threads(Networks.dense(builder -> builder), 2, options))
        .hasMessageContaining("sums momenta")
        .hasMessageContaining("momentum 0");
  }

  /** All of each rank's gradients are sent: nothing may be lost or counted twice. */
  @Test
  void aCodecThatLeavesNothingOutChangesNothing() throws Exception {
    List<DataSet> batches = Networks.vectors(8, 7, 5);
    MultiLayerNetwork alone = Networks.normalized();
    MultiLayerNetwork together = Networks.normalized();

    try (var training = ParallelTraining.threads(alone, 2)) {
      for (int step = 0; step < FEW_STEPS; step++) {
        training.fit(batches.get(step % 3));
      }
    }
    try (var training =
        ParallelTraining.threads(
            together, 2, TrainingOptions.DEFAULT.withCompression(new Compression.TopK(1)))) {
      for (int step = 0; step < FEW_STEPS; step++) {
        training.fit(batches.get(step % 3));
      }
    }

    ParityTest.assertClose(together, alone, 1e-5);
  }
}
