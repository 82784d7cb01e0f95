package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.SavedCheckpoint;
import dev.phalanx.sharding.compression.Compression;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.deeplearning4j.datasets.iterator.ExistingDataSetIterator;
import org.deeplearning4j.nn.conf.dropout.Dropout;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.util.ModelSerializer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;

final class NetworkCheckpointsTest {
  @TempDir private Path folder = Path.of("");

  private static MultiLayerNetwork network() {
    return Networks.dense(builder -> builder.dropOut(new Dropout(0.8)).l2(1e-3));
  }

  private static DataSetIterator batches() {
    return new ExistingDataSetIterator(Networks.vectors(8, 7, 8, 5, 8));
  }

  static Stream<TrainingOptions> options() {
    return Stream.of(
        TrainingOptions.DEFAULT,
        TrainingOptions.DEFAULT.withCompression(new Compression.Threshold(1e-3)),
        TrainingOptions.DEFAULT.withCompression(new Compression.PowerSgd(2, 0)));
  }

  @ParameterizedTest
  @MethodSource("options")
  void aRunThatGoesOnFromACheckpointHasTheBitsOfOneThatWasNotInterrupted(TrainingOptions options)
      throws Exception {
    TrainingOptions saving = options.withCheckpoints(folder, 7, 2);
    MultiLayerNetwork whole = network();
    try (var training = ParallelTraining.threads(whole, 2, options)) {
      training.fit(batches(), 3);
    }
    MultiLayerNetwork interrupted = network();
    try (var training = ParallelTraining.threads(interrupted, 2, saving)) {
      training.fit(batches(), 2); // 10 iterations: the checkpoint is of the 7th, within an epoch
    }

    MultiLayerNetwork resumed = network();
    try (var training = ParallelTraining.threads(resumed, 2, saving)) {
      assertThat(training.resume(folder)).isTrue();
      assertThat(resumed.getIterationCount()).isEqualTo(7);
      assertThat(resumed.getEpochCount()).isEqualTo(1);
      training.fit(batches(), 3 - resumed.getEpochCount());
    }

    ParityTest.assertClose(resumed, whole, 0);
    assertThat(resumed.updaterState()).isEqualTo(whole.updaterState());
    assertThat(resumed.getIterationCount()).isEqualTo(15);
  }

  @Test
  void anyNumberOfRanksGoesOn() throws Exception {
    MultiLayerNetwork whole = Networks.dense(builder -> builder);
    try (var training = ParallelTraining.threads(whole, 1)) {
      training.fit(batches(), 2);
    }
    TrainingOptions saving = TrainingOptions.DEFAULT.withCheckpoints(folder, 5, 2);
    try (var training = ParallelTraining.threads(Networks.dense(builder -> builder), 4, saving)) {
      training.fit(batches(), 1);
    }

    MultiLayerNetwork resumed = Networks.dense(builder -> builder);
    try (var training = ParallelTraining.threads(resumed, 2, saving)) {
      training.resume(folder);
      training.fit(batches(), 2 - resumed.getEpochCount());
    }

    ParityTest.assertClose(resumed, whole, 1e-5);
  }

  @Test
  void aCheckpointIsWholeAndDeeplearning4jReadsItsZip() throws Exception {
    MultiLayerNetwork network = network();
    try (var training =
        ParallelTraining.threads(
            network, 2, TrainingOptions.DEFAULT.withCheckpoints(folder, 0, 2))) {
      training.fit(batches(), 1);
      training.saveCheckpoint();
    }

    Path directory = folder.resolve("step-000005");
    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(directory)) {
      checkpoint.verify();
      assertThat(checkpoint.manifest().files())
          .extracting(CheckpointManifest.StoredFile::name)
          .containsExactly("model.safetensors", "optimizer.safetensors", "network.zip");
      assertThat(checkpoint.model().names()).containsExactly("0_W", "0_b", "1_W", "1_b");
    }
    MultiLayerNetwork restored =
        ModelSerializer.restoreMultiLayerNetwork(directory.resolve("network.zip").toFile(), true);
    ParityTest.assertClose(restored, network, 0);
    assertThat(restored.updaterState()).isEqualTo(network.updaterState());
    assertThat(restored.getIterationCount()).isEqualTo(5);
  }

  @Test
  void anEarlierRunsCheckpointsAreMovedAsideAndOldOnesDeleted() throws Exception {
    for (int run = 0; run < 2; run++) {
      try (var training =
          ParallelTraining.threads(
              network(), 1, TrainingOptions.DEFAULT.withCheckpoints(folder.resolve("a"), 1, 2))) {
        training.fit(batches(), 1);
      }
    }

    assertThat(names(folder)).containsExactly("a", "a.old-1");
    assertThat(names(folder.resolve("a"))).containsExactly("step-000004", "step-000005");
    assertThat(names(folder.resolve("a.old-1"))).containsExactly("step-000004", "step-000005");
  }

  private static List<String> names(Path folder) throws Exception {
    try (Stream<Path> paths = Files.list(folder)) {
      return paths.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void anEmptyFolderHasNothingToGoOnFrom() throws Exception {
    try (var training = ParallelTraining.threads(network(), 2)) {
      assertThat(training.resume(folder)).isFalse();
      training.fit(batches(), 1);
    }
  }

  @Test
  void anotherNetworksCheckpointIsRefused() throws Exception {
    try (var training =
        ParallelTraining.threads(
            network(), 1, TrainingOptions.DEFAULT.withCheckpoints(folder, 0, 1))) {
      training.saveCheckpoint();
    }

    try (var training = ParallelTraining.threads(Networks.normalized(), 1)) {
      assertThatThrownBy(() -> training.resume(folder))
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageContaining("is of another network");
    }
  }

  @Test
  void aDamagedCheckpointIsRefused() throws Exception {
    try (var training =
        ParallelTraining.threads(
            network(), 1, TrainingOptions.DEFAULT.withCheckpoints(folder, 0, 1))) {
      training.saveCheckpoint();
    }
    Path zip = folder.resolve("step-000000").resolve("network.zip");
    byte[] bytes = Files.readAllBytes(zip);
    bytes[bytes.length / 2] ^= 1;
    Files.write(zip, bytes);

    try (var training = ParallelTraining.threads(network(), 1)) {
      assertThatThrownBy(() -> training.resume(folder))
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageContaining("network.zip");
    }
  }
}
