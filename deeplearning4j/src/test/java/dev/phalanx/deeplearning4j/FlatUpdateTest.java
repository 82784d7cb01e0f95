package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.sharding.compression.Compression;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.deeplearning4j.datasets.iterator.ExistingDataSetIterator;
import org.deeplearning4j.nn.conf.GradientNormalization;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.misc.FrozenLayerWithBackprop;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.transferlearning.TransferLearning;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

/** Our optimizers in the place of a network's updater. */
final class FlatUpdateTest {
  private static final int STEPS = 20;

  @TempDir private Path folder = Path.of("");

  private static final NetworkOptimizer ADAMW =
      NetworkOptimizer.adamW(iteration -> 1e-2 / (1 + iteration), 0.9, 0.99, 1e-8, 0.01);
  private static final NetworkOptimizer MOMENTUM =
      NetworkOptimizer.sgd(iteration -> 0.05, 0.9, 0.01);
  private static final NetworkOptimizer LAMB =
      NetworkOptimizer.lamb(iteration -> 1e-2, 0.9, 0.99, 1e-6, 0.01);

  private static MultiLayerNetwork trained(int ranks, TrainingOptions options) throws Exception {
    return trained(Networks.normalized(), ranks, options);
  }

  private static MultiLayerNetwork trained(
      MultiLayerNetwork network, int ranks, TrainingOptions options) throws Exception {
    List<DataSet> batches = Networks.vectors(8, 8, 8);
    try (var training = ParallelTraining.threads(network, ranks, options)) {
      for (int step = 0; step < STEPS; step++) {
        training.fit(batches.get(step % 3));
      }
    }
    return network;
  }

  /** Running statistics of batch normalisation among them. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4})
  void plainDescentIsDeeplearning4jsOwn(int ranks) throws Exception {
    MultiLayerNetwork own = trained(ranks, TrainingOptions.DEFAULT);
    NetworkOptimizer descent = NetworkOptimizer.sgd(iteration -> 0.1, 0, 0);

    ParityTest.assertClose(
        trained(ranks, TrainingOptions.DEFAULT.withOptimizer(descent)), own, 1e-5);
    ParityTest.assertClose(
        trained(ranks, TrainingOptions.DEFAULT.withOptimizer(descent.sharded())), own, 1e-5);
  }

  static Stream<NetworkOptimizer> optimizers() {
    return Stream.of(ADAMW, MOMENTUM, LAMB);
  }

  /** Parameters begin and end within parts, whose number does not divide theirs. */
  @ParameterizedTest
  @MethodSource("optimizers")
  void partsOnSeveralRanksAreTheWholeOnOne(NetworkOptimizer optimizer) throws Exception {
    TrainingOptions options = TrainingOptions.DEFAULT.withOptimizer(optimizer);
    TrainingOptions sharded = TrainingOptions.DEFAULT.withOptimizer(optimizer.sharded());
    MultiLayerNetwork alone = trained(Networks.dense(builder -> builder), 1, options);

    ParityTest.assertClose(trained(Networks.dense(builder -> builder), 2, options), alone, 1e-5);
    for (int ranks : new int[] {2, 3}) {
      ParityTest.assertClose(
          trained(Networks.dense(builder -> builder), ranks, sharded), alone, 1e-5);
    }
  }

  @Test
  void compressionAndPartsGoTogether() throws Exception {
    TrainingOptions plain = TrainingOptions.DEFAULT.withOptimizer(ADAMW.sharded());
    MultiLayerNetwork expected = trained(Networks.dense(builder -> builder), 2, plain);

    MultiLayerNetwork found =
        trained(
            Networks.dense(builder -> builder), 2, plain.withCompression(new Compression.TopK(1)));

    ParityTest.assertClose(found, expected, 1e-5);
  }

  @Test
  void anyNumberOfRanksGoesOnFromACheckpointOfParts() throws Exception {
    TrainingOptions options = TrainingOptions.DEFAULT.withOptimizer(ADAMW.sharded());
    TrainingOptions saving = options.withCheckpoints(folder, 3, 2);
    List<DataSet> batches = Networks.vectors(8, 7, 8);
    MultiLayerNetwork whole = Networks.dense(builder -> builder);
    try (var training = ParallelTraining.threads(whole, 2, options)) {
      training.fit(new ExistingDataSetIterator(batches), 3);
    }
    try (var training = ParallelTraining.threads(Networks.dense(builder -> builder), 2, saving)) {
      training.fit(new ExistingDataSetIterator(batches), 1);
    }

    for (int ranks : new int[] {2, 3}) {
      MultiLayerNetwork resumed = Networks.dense(builder -> builder);
      try (var training = ParallelTraining.threads(resumed, ranks, options)) {
        training.resume(folder);
        training.fit(new ExistingDataSetIterator(batches), 3 - resumed.getEpochCount());
      }
      ParityTest.assertClose(resumed, whole, ranks == 2 ? 0 : 1e-5);
    }
  }

  /** Corrections of a young state are those of its own age. */
  @Test
  void theOptimizersStepsBeginWithItsStateWhateverTheNetworkWasTrainedBefore() throws Exception {
    TrainingOptions options =
        TrainingOptions.DEFAULT.withOptimizer(
            NetworkOptimizer.adamW(iteration -> 1e-2, 0.9, 0.99, 1e-8, 0.01));
    MultiLayerNetwork fresh = Networks.dense(builder -> builder);
    MultiLayerNetwork trained = Networks.dense(builder -> builder);
    trained.setIterationCount(1000);
    trained(fresh, 2, options);
    trained(trained, 2, options);
    ParityTest.assertClose(trained, fresh, 0);

    MultiLayerNetwork resumed = Networks.dense(builder -> builder);
    MultiLayerNetwork interrupted = Networks.dense(builder -> builder);
    interrupted.setIterationCount(1000);
    List<DataSet> batches = Networks.vectors(8, 8, 8);
    try (var training =
        ParallelTraining.threads(interrupted, 2, options.withCheckpoints(folder, 1007, 1))) {
      for (int step = 0; step < 7; step++) {
        training.fit(batches.get(step % 3));
      }
    }
    try (var training = ParallelTraining.threads(resumed, 2, options)) {
      assertThat(training.resume(folder)).isTrue();
      for (int step = 7; step < STEPS; step++) {
        training.fit(batches.get(step % 3));
      }
    }
    ParityTest.assertClose(resumed, fresh, 0);
  }

  @Test
  void whatTheNetworksOwnUpdaterDoesIsRefused() throws Exception {
    TrainingOptions options = TrainingOptions.DEFAULT.withOptimizer(ADAMW);

    assertThatThrownBy(() -> ParallelTraining.threads(Networks.dense(b -> b.l2(1e-3)), 1, options))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("0_W is regularised by")
        .hasMessageContaining("weight decay");
    assertThatThrownBy(
            () ->
                ParallelTraining.threads(
                    Networks.dense(
                        b -> b.gradientNormalization(GradientNormalization.ClipL2PerLayer)),
                    1,
                    options))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("normalised by ClipL2PerLayer");
  }

  @Test
  void frozenLayersStayAsTheyAre() throws Exception {
    MultiLayerNetwork network =
        new TransferLearning.Builder(Networks.dense(builder -> builder.updater(new Sgd(0.1))))
            .setFeatureExtractor(0)
            .build();
    var frozen = network.getParam("0_W").dup();
    var output = network.getParam("1_W").dup();

    trained(network, 2, TrainingOptions.DEFAULT.withOptimizer(ADAMW.sharded()));

    assertThat(network.getParam("0_W")).isEqualTo(frozen);
    assertThat(network.getParam("1_W")).isNotEqualTo(output);
  }

  /** Such a layer's own configuration has the rule and the regularisation that it had before. */
  @Test
  void layersThatAreFrozenAndLetGradientsThroughStayAsTheyAre() throws Exception {
    MultiLayerNetwork network =
        Networks.initialized(
            Networks.builder()
                .list()
                .layer(new DenseLayer.Builder().nOut(7).activation(Activation.TANH).build())
                .layer(
                    new FrozenLayerWithBackprop(
                        new DenseLayer.Builder().nOut(5).l2(0.1).updater(new Sgd(0.1)).build()))
                .layer(
                    new OutputLayer.Builder(LossFunction.MCXENT)
                        .nOut(Networks.CLASSES)
                        .activation(Activation.SOFTMAX)
                        .build())
                .setInputType(InputType.feedForward(Networks.FEATURES)));
    var before = network.getParam("0_W").dup();
    var frozen = network.getParam("1_W").dup();

    trained(network, 2, TrainingOptions.DEFAULT.withOptimizer(ADAMW.sharded()));

    assertThat(network.getParam("1_W")).isEqualTo(frozen);
    assertThat(network.getParam("0_W")).isNotEqualTo(before);
  }
}
