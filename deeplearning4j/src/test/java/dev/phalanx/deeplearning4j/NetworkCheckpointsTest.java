package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.CheckpointWriteException;
import dev.phalanx.checkpoint.SavedCheckpoint;
import dev.phalanx.sharding.compression.Compression;
import dev.phalanx.trainer.RankZeroWriteException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.deeplearning4j.datasets.iterator.ExistingDataSetIterator;
import org.deeplearning4j.nn.conf.dropout.Dropout;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.util.ModelSerializer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.learning.config.Nadam;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

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
        TrainingOptions.DEFAULT.withCompression(new Compression.Threshold(1e-3, 0.01, 0.1)),
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

  /** The other rank does not wait until it takes rank 0 for lost. */
  @ParameterizedTest(name = "checkpoints in {0}")
  @ValueSource(strings = {"file", "file/in"})
  void whatCannotBeWrittenIsSaidOnEveryRank(String where) throws Exception {
    Files.writeString(folder.resolve("file"), "no folder");
    TrainingOptions saving = TrainingOptions.DEFAULT.withCheckpoints(folder.resolve(where), 0, 1);
    List<Future<Boolean>> ranks =
        Ranks.run(
            2,
            world -> {
              try (var rank =
                  DataParallelNetwork.of(Networks.dense(builder -> builder), world, saving)) {
                rank.saveCheckpoint();
              }
              return true;
            });

    assertThatThrownBy(ranks.get(0)::get)
        .hasRootCauseInstanceOf(IOException.class)
        .cause()
        .isInstanceOf(CheckpointWriteException.class)
        .hasMessageContaining(where);
    assertThatThrownBy(ranks.get(1)::get)
        .cause()
        .isInstanceOf(RankZeroWriteException.class)
        .hasMessageContaining("rank 0 could not write the checkpoint")
        .hasMessageContaining(where);
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

    MultiLayerNetwork other = Networks.normalized();
    var before = other.params().dup();
    try (var training = ParallelTraining.threads(other, 2)) {
      assertThatThrownBy(() -> training.resume(folder))
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageContaining("is of another network");
      assertThat(other.params()).isEqualTo(before);
      training.fit(batches(), 1); // from where it was
    }
    assertThat(other.getIterationCount()).isEqualTo(5);
  }

  @Test
  void anotherUpdatersOrAnotherSizesCheckpointIsRefusedBeforeAnythingChanges() throws Exception {
    save(Networks.dense(builder -> builder), TrainingOptions.DEFAULT);

    assertThatRefused(Networks.dense(builder -> builder.updater(new Nadam(1e-2))), "Nadam");
    MultiLayerNetwork wide =
        Networks.initialized(
            Networks.builder()
                .list()
                .layer(new DenseLayer.Builder().nIn(6).nOut(10).build())
                .layer(
                    new OutputLayer.Builder(LossFunction.MSE)
                        .nIn(10)
                        .nOut(4)
                        .activation(Activation.IDENTITY)
                        .build()));
    assertThatRefused(wide, "its 1_W is [3, 10] and this one's is [4, 10]");
  }

  private void save(MultiLayerNetwork network, TrainingOptions options) throws Exception {
    try (var training =
        ParallelTraining.threads(network, 2, options.withCheckpoints(folder, 0, 1))) {
      training.fit(batches(), 1);
      training.saveCheckpoint();
    }
  }

  private void assertThatRefused(MultiLayerNetwork other, String why) throws Exception {
    var before = other.params().dup();
    try (var training = ParallelTraining.threads(other, 2)) {
      assertThatThrownBy(() -> training.resume(folder))
          .isInstanceOf(BadCheckpointException.class)
          .hasMessageContaining(why);
    }
    assertThat(other.params()).isEqualTo(before);
    assertThat(other.getIterationCount()).isZero();
  }

  @Test
  void aCheckpointMayHaveAnotherName() throws Exception {
    save(network(), TrainingOptions.DEFAULT);
    Path best = folder.resolveSibling(folder.getFileName() + "-best");
    Files.move(folder.resolve("step-000005"), best);

    MultiLayerNetwork resumed = network();
    try (var training = ParallelTraining.threads(resumed, 2)) {
      assertThat(training.resume(best)).isTrue();
    } finally {
      Files.move(best, folder.resolve("best")); // which is deleted
    }

    assertThat(resumed.getIterationCount()).isEqualTo(5);
  }

  /** What one codec has kept back means something else to another. */
  @Test
  void residualsOfAnotherCodecAreNotTakenOver() throws Exception {
    Path plain = folder.resolve("plain");
    save(
        Networks.dense(builder -> builder),
        TrainingOptions.DEFAULT.withCompression(new Compression.TopK(0.1)));
    try (var training =
        ParallelTraining.threads(
            Networks.dense(builder -> builder),
            2,
            TrainingOptions.DEFAULT.withCheckpoints(plain, 0, 1))) {
      training.resume(folder);
      training.saveCheckpoint(); // without residuals
    }

    ParityTest.assertClose(goneOnWithThreshold(folder), goneOnWithThreshold(plain), 0);
  }

  private static MultiLayerNetwork goneOnWithThreshold(Path from) throws Exception {
    MultiLayerNetwork network = Networks.dense(builder -> builder);
    try (var training =
        ParallelTraining.threads(
            network, 2, TrainingOptions.DEFAULT.withCompression(new Compression.Threshold(1e-3)))) {
      assertThat(training.resume(from)).isTrue();
      training.fit(Networks.vectors(8).get(0));
    }
    return network;
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
