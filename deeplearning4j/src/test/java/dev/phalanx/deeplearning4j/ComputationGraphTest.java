package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.sharding.compression.Compression;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.deeplearning4j.datasets.iterator.ExistingDataSetIterator;
import org.deeplearning4j.earlystopping.EarlyStoppingConfiguration;
import org.deeplearning4j.earlystopping.EarlyStoppingResult;
import org.deeplearning4j.earlystopping.scorecalc.DataSetLossCalculator;
import org.deeplearning4j.earlystopping.termination.MaxEpochsTerminationCondition;
import org.deeplearning4j.earlystopping.trainer.EarlyStoppingGraphTrainer;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.util.ModelSerializer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nd4j.linalg.dataset.MultiDataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.dataset.api.iterator.MultiDataSetIterator;

/** What else than the steps themselves, which {@link ParityTest} has, is a graph's as well. */
final class ComputationGraphTest {
  @TempDir private Path folder = Path.of("");

  private static ComputationGraph graph() {
    return Networks.graph(builder -> builder);
  }

  private static MultiDataSetIterator batches() {
    return new GivenBatches(Networks.pairs(8, 7, 8, 5, 8));
  }

  static Stream<TrainingOptions> options() {
    NetworkOptimizer adamW = NetworkOptimizer.adamW(i -> 1e-2, 0.9, 0.99, 1e-8, 0.01);
    return Stream.of(
        TrainingOptions.DEFAULT,
        TrainingOptions.DEFAULT.withCompression(new Compression.Int8(64)),
        TrainingOptions.DEFAULT.withCompression(new Compression.PowerSgd(2, 0)),
        TrainingOptions.DEFAULT.withOptimizer(adamW.sharded()),
        TrainingOptions.DEFAULT
            .withOptimizer(adamW.sharded())
            .withCompression(new Compression.Threshold(1e-3)));
  }

  /** Of several inputs and outputs. */
  @ParameterizedTest
  @MethodSource("options")
  void aRunThatGoesOnFromACheckpointHasTheBitsOfOneThatWasNotInterrupted(TrainingOptions options)
      throws Exception {
    TrainingOptions saving = options.withCheckpoints(folder, 7, 2);
    ComputationGraph whole = graph();
    train(whole, 3, options);
    train(graph(), 2, saving); // 10 iterations: the checkpoint is of the 7th, within an epoch

    ComputationGraph resumed = graph();
    try (var training = ParallelTraining.threads(resumed, 3, saving)) {
      assertThat(training.resume(folder)).isTrue();
      assertThat(resumed.getIterationCount()).isEqualTo(7);
      training.fit(batches(), 3 - resumed.getEpochCount());
    }

    ParityTest.assertClose(resumed, whole, 0);
    assertThat(resumed.getIterationCount()).isEqualTo(15);
  }

  private static void train(ComputationGraph graph, int epochs, TrainingOptions options)
      throws Exception {
    try (var training = ParallelTraining.threads(graph, 3, options)) {
      training.fit(batches(), epochs);
    }
  }

  @Test
  void aCheckpointsZipIsAGraphOfDeeplearning4js() throws Exception {
    ComputationGraph graph = graph();
    try (var training =
        ParallelTraining.threads(graph, 2, TrainingOptions.DEFAULT.withCheckpoints(folder, 0, 1))) {
      training.fit(batches(), 1);
      training.saveCheckpoint();
    }

    ComputationGraph read =
        ModelSerializer.restoreComputationGraph(
            folder.resolve("step-000005/network.zip").toFile(), true);

    ParityTest.assertClose(read, graph, 0);
    assertThat(read.getUpdater().getStateViewArray())
        .isEqualTo(graph.getUpdater().getStateViewArray());
    assertThat(read.getConfiguration().getIterationCount()).isEqualTo(5);
  }

  /** Also a rank without samples in the end. */
  @Test
  void partsOnSeveralRanksAreTheWholeOnOne() throws Exception {
    NetworkOptimizer lamb = NetworkOptimizer.lamb(i -> 1e-2, 0.9, 0.99, 1e-6, 0.01);
    ComputationGraph alone = graph();
    try (var training =
        ParallelTraining.threads(alone, 1, TrainingOptions.DEFAULT.withOptimizer(lamb))) {
      training.fit(batches(), 1);
    }

    ComputationGraph together = graph();
    train(together, 1, TrainingOptions.DEFAULT.withOptimizer(lamb.sharded()));

    ParityTest.assertClose(together, alone, 1e-5);
  }

  @Test
  void batchesOfTheRanksOwnAreOneBatchTogether() throws Exception {
    MultiDataSet first = Networks.pairs(5).get(0);
    MultiDataSet second = Networks.pairs(2, 3).get(1);
    ComputationGraph alone = graph();
    alone.fit(MultiDataSet.merge(List.of(first, second)));

    List<Future<ComputationGraph>> ranks =
        Ranks.run(
            2,
            world -> {
              ComputationGraph graph = graph();
              MultiDataSet own = world.rank() == 0 ? first : second;
              try (var rank = DataParallelNetwork.of(graph, world)) {
                rank.fitShards(new GivenBatches(List.of(own)), 1);
              }
              return graph;
            });

    for (Future<ComputationGraph> rank : ranks) {
      ParityTest.assertClose(rank.get(), alone, 1e-5);
    }
  }

  @Test
  void earlyStoppingFindsTheModelThatOneThreadFinds() throws Exception {
    EarlyStoppingResult<ComputationGraph> alone =
        new EarlyStoppingGraphTrainer(stopping(), Networks.singleGraph(), vectors()).fit();

    EarlyStoppingResult<ComputationGraph> together;
    try (var training = ParallelTraining.threads(Networks.singleGraph(), 2)) {
      together = new ParallelEarlyStoppingTrainer<>(stopping(), training, vectors()).fit();
    }

    assertThat(together.getBestModelEpoch()).isEqualTo(alone.getBestModelEpoch());
    ParityTest.assertClose(together.getBestModel(), alone.getBestModel(), 1e-5);
  }

  private static DataSetIterator vectors() {
    return new ExistingDataSetIterator(Networks.vectors(8, 7, 8));
  }

  private static EarlyStoppingConfiguration<ComputationGraph> stopping() {
    return new EarlyStoppingConfiguration.Builder<ComputationGraph>()
        .epochTerminationConditions(new MaxEpochsTerminationCondition(4))
        .scoreCalculator(new DataSetLossCalculator(vectors(), true))
        .build();
  }
}
