package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.CollectiveException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import org.deeplearning4j.datasets.iterator.ExistingDataSetIterator;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.api.OptimizationAlgorithm;
import org.deeplearning4j.nn.conf.dropout.Dropout;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.optimize.api.BaseTrainingListener;
import org.deeplearning4j.optimize.api.TrainingListener;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.nd4j.linalg.learning.config.Sgd;

final class DataParallelNetworkTest {
  /** Rounding of sums in another order, over a few steps. */
  private static final double TOLERANCE = 1e-5;

  @TempDir private Path folder = Path.of("");

  @Test
  void batchesOfTheRanksOwnAreOneBatchTogether() throws Exception {
    List<DataSet> first = Networks.vectors(4, 2, 5);
    List<DataSet> second = Networks.vectors(3, 6); // ends an epoch earlier
    MultiLayerNetwork alone = Networks.dense(builder -> builder);
    for (int epoch = 0; epoch < 2; epoch++) {
      alone.fit(DataSet.merge(List.of(first.get(0), second.get(0))));
      alone.fit(DataSet.merge(List.of(first.get(1), second.get(1))));
      alone.fit(first.get(2));
    }

    List<Future<MultiLayerNetwork>> ranks =
        Ranks.run(
            2,
            world -> {
              MultiLayerNetwork network = Networks.dense(builder -> builder);
              List<DataSet> own = world.rank() == 0 ? first : second;
              try (var rank = DataParallelNetwork.of(network, world)) {
                rank.fitShards(batches(own), 2);
              }
              return network;
            });

    ParityTest.assertClose(ranks.get(0).get(), alone, TOLERANCE);
    ParityTest.assertClose(ranks.get(1).get(), ranks.get(0).get(), 0);
    assertThat(ranks.get(1).get().getEpochCount()).isEqualTo(2);
  }

  private static DataSetIterator batches(List<DataSet> batches) {
    return new ExistingDataSetIterator(batches);
  }

  @Test
  void batchesOfTheRanksOwnGoOnWhereOneRankHasDoneAllOfIts() throws Exception {
    List<DataSet> first = Networks.vectors(4, 2, 5);
    List<DataSet> second = Networks.vectors(3);
    TrainingOptions saving = TrainingOptions.DEFAULT.withCheckpoints(folder, 2, 1);
    List<Future<MultiLayerNetwork>> whole = shards(first, second, TrainingOptions.DEFAULT, false);
    shards(first, second, saving, false); // the last checkpoint is of the 2nd of 3 iterations

    List<Future<MultiLayerNetwork>> resumed = shards(first, second, TrainingOptions.DEFAULT, true);

    for (Future<MultiLayerNetwork> rank : resumed) {
      ParityTest.assertClose(rank.get(), whole.get(0).get(), 0);
      assertThat(rank.get().getIterationCount()).isEqualTo(3);
    }
  }

  private List<Future<MultiLayerNetwork>> shards(
      List<DataSet> first, List<DataSet> second, TrainingOptions options, boolean isResumed)
      throws Exception {
    return Ranks.run(
        2,
        world -> {
          MultiLayerNetwork network = Networks.dense(builder -> builder);
          try (var rank = DataParallelNetwork.of(network, world, options)) {
            assertThat(isResumed && !rank.resume(folder)).isFalse();
            rank.fitShards(batches(world.rank() == 0 ? first : second), 1);
          }
          return network;
        });
  }

  @Test
  void truncatedSeriesNeedNoSeriesOfLabelsInAGraph() throws Exception {
    DataSet batch = Networks.series(7).get(0);
    INDArray labels =
        batch.getLabels().get(NDArrayIndex.all(), NDArrayIndex.all(), NDArrayIndex.point(0)).dup();
    DataSet truncated = new DataSet(batch.getFeatures(), labels);
    ComputationGraph alone = Networks.truncatedGraph();
    ComputationGraph together = Networks.truncatedGraph();

    alone.fit(truncated);
    try (var training = ParallelTraining.threads(together, 2)) {
      training.fit(truncated);
    }

    assertThat(alone.getIterationCount()).isEqualTo(3); // 5 steps of time, 2 at once
    assertThat(together.getIterationCount()).isEqualTo(3);
    INDArray difference = together.params().sub(alone.params());
    assertThat(difference.amaxNumber().doubleValue()).isLessThan(TOLERANCE);
  }

  @Test
  void aRankWithoutAnySampleIsRefused() throws Exception {
    List<Future<Boolean>> ranks =
        Ranks.run(
            2,
            world -> {
              List<DataSet> own = world.rank() == 0 ? Networks.vectors(4) : List.of();
              try (var rank = DataParallelNetwork.of(Networks.dense(builder -> builder), world)) {
                rank.fitShards(batches(own), 1);
              }
              return true;
            });

    assertThatThrownBy(ranks.get(1)::get)
        .hasRootCauseInstanceOf(IllegalStateException.class)
        .hasMessageContaining("Rank 1 has no samples at all");
    assertThatThrownBy(ranks.get(0)::get).hasMessageContaining("rank 1");
  }

  @Test
  void differentBatchesAreAnErrorOnAllRanks() throws Exception {
    List<Future<Boolean>> ranks =
        Ranks.run(
            2,
            world -> {
              List<DataSet> own = Networks.vectors(8, world.rank() == 0 ? 8 : 6);
              try (var rank = DataParallelNetwork.of(Networks.dense(builder -> builder), world)) {
                rank.fit(batches(own), 1);
              }
              return true;
            });

    for (Future<Boolean> rank : ranks) {
      assertThatThrownBy(rank::get)
          .hasMessageContaining("Rank 0 has a batch of 8 samples and rank 1 has a batch of 6")
          .hasMessageContaining("fitShards");
    }
  }

  @Test
  void anIteratorThatEndsEarlierIsAnErrorOnAllRanks() throws Exception {
    List<Future<Boolean>> ranks =
        Ranks.run(
            2,
            world -> {
              List<DataSet> own = world.rank() == 0 ? Networks.vectors(8, 8) : Networks.vectors(8);
              try (var rank = DataParallelNetwork.of(Networks.dense(builder -> builder), world)) {
                rank.fit(batches(own), 1);
              }
              return true;
            });

    for (Future<Boolean> rank : ranks) {
      assertThatThrownBy(rank::get).hasMessageContaining("rank 1 has no more batch");
    }
  }

  @Test
  void differentConfigurationsAreAnErrorOnAllRanksThatTrainAloneAsBefore() throws Exception {
    List<Future<Integer>> ranks =
        Ranks.run(
            2,
            world -> {
              double rate = 0.1 + world.rank();
              MultiLayerNetwork network = Networks.dense(builder -> builder.updater(new Sgd(rate)));
              assertThatThrownBy(() -> DataParallelNetwork.of(network, world))
                  .hasMessageContaining("rank 1 are configured differently")
                  .hasMessageContaining("the same seed()");
              network.fit(Networks.vectors(8).get(0));
              return network.getIterationCount();
            });

    for (Future<Integer> rank : ranks) {
      assertThat(rank.get()).isEqualTo(1);
    }
  }

  @Test
  void parametersAndCountsOfRankZeroAreEverybodys() throws Exception {
    DataSet batch = Networks.vectors(8).get(0);
    List<Future<MultiLayerNetwork>> ranks =
        Ranks.run(
            3,
            world -> {
              MultiLayerNetwork network = Networks.dense(builder -> builder);
              for (int step = 0; step < 3 - world.rank(); step++) {
                network.fit(batch);
              }
              DataParallelNetwork.of(network, world).close();
              return network;
            });

    for (Future<MultiLayerNetwork> rank : ranks) {
      ParityTest.assertClose(rank.get(), ranks.get(0).get(), 0);
      assertThat(rank.get().updaterState()).isEqualTo(ranks.get(0).get().updaterState());
      assertThat(rank.get().getIterationCount()).isEqualTo(3);
    }
  }

  @Test
  void dropoutDrawsTheSameMasksInEachRunOfAsManyRanksAndOthersOnEachRank() throws Exception {
    List<DataSet> batches = Networks.vectors(8, 8, 8);
    List<MultiLayerNetwork> runs = new ArrayList<>();
    for (int run = 0; run < 2; run++) {
      MultiLayerNetwork network = Networks.dense(builder -> builder.dropOut(new Dropout(0.5)));
      try (var training = ParallelTraining.threads(network, 2)) {
        training.fit(batches(batches), 2);
      }
      runs.add(network);
    }
    ParityTest.assertClose(runs.get(1), runs.get(0), 0);

    // Two equal halves whose ranks draw the same masks would be one half alone.
    DataSet half = batches.get(0);
    MultiLayerNetwork twice = Networks.dense(builder -> builder.dropOut(new Dropout(0.5)));
    MultiLayerNetwork once = Networks.dense(builder -> builder.dropOut(new Dropout(0.5)));
    try (var training = ParallelTraining.threads(twice, 2)) {
      training.fit(DataSet.merge(List.of(half, half)));
    }
    try (var training = ParallelTraining.threads(once, 1)) {
      training.fit(half);
    }
    assertThat(twice.params().sub(once.params()).amaxNumber().doubleValue()).isGreaterThan(1e-4);
  }

  @Test
  void listenersHearOfEveryIterationAndEpochOnRankZero() throws Exception {
    MultiLayerNetwork network = Networks.dense(builder -> builder);

    assertThatListenersHearAll(network, batches(Networks.vectors(8, 8)));

    assertThat(network.getEpochCount()).isEqualTo(2);
  }

  @Test
  void listenersOfAGraphHearOfEveryIterationAndEpochOnRankZero() throws Exception {
    ComputationGraph graph = Networks.singleGraph();

    assertThatListenersHearAll(graph, batches(Networks.vectors(8, 8)));

    assertThat(graph.getEpochCount()).isEqualTo(2);
  }

  private static void assertThatListenersHearAll(Model network, DataSetIterator batches)
      throws Exception {
    List<Counts> listeners = List.of(new Counts(), new Counts(), new Counts());
    network.setListeners(listeners.get(0));
    network.addListeners(listeners.get(1));

    try (var training = ParallelTraining.threads(network, 3)) {
      network.addListeners(listeners.get(2));
      training.fit(batches, 2);
    }

    for (Counts counts : listeners) {
      assertThat(counts.iterations).isEqualTo(4);
      assertThat(counts.epochStarts).isEqualTo(2);
      assertThat(counts.epochEnds).isEqualTo(2);
    }
    assertThat(TrainedNetwork.of(network).listeners()).containsExactlyElementsOf(listeners);
  }

  @Test
  void ranksThatWereSilencedHaveTheirListenersAfterwardsUnlessOthersWereSet() throws Exception {
    Counts before = new Counts();
    Counts meanwhile = new Counts();

    List<Future<List<List<TrainingListener>>>> ranks =
        Ranks.run(
            2,
            world -> {
              List<List<TrainingListener>> found = new ArrayList<>();
              for (boolean isSet : new boolean[] {false, true}) {
                MultiLayerNetwork network = Networks.dense(builder -> builder);
                network.setListeners(before);
                try (var rank = DataParallelNetwork.of(network, world)) {
                  if (isSet) {
                    rank.network().setListeners(meanwhile);
                  }
                }
                found.add(List.copyOf(network.getListeners()));
              }
              return found;
            });

    for (Future<List<List<TrainingListener>>> rank : ranks) {
      assertThat(rank.get()).containsExactly(List.of(before), List.of(meanwhile));
    }
  }

  @Test
  void batchesByThemselvesAreNotLeftOutOfTheNextEpoch() throws Exception {
    MultiLayerNetwork threads = Networks.dense(builder -> builder);
    try (var training = ParallelTraining.threads(threads, 2)) {
      training.fit(Networks.vectors(8).get(0));
      training.fit(batches(Networks.vectors(8, 8)), 1);
    }
    assertThat(threads.getIterationCount()).isEqualTo(3);

    List<Future<Integer>> ranks =
        Ranks.run(
            2,
            world -> {
              MultiLayerNetwork network = Networks.dense(builder -> builder);
              try (var rank = DataParallelNetwork.of(network, world)) {
                rank.fit(Networks.vectors(8).get(0));
                rank.fit(batches(Networks.vectors(8, 8)), 1);
              }
              return network.getIterationCount();
            });
    for (Future<Integer> rank : ranks) {
      assertThat(rank.get()).isEqualTo(3);
    }
  }

  private static final class Counts extends BaseTrainingListener {
    int iterations;
    int epochStarts;
    int epochEnds;

    @Override
    public void iterationDone(Model model, int iteration, int epoch) {
      iterations++;
    }

    @Override
    public void onEpochStart(Model model) {
      epochStarts++;
    }

    @Override
    public void onEpochEnd(Model model) {
      epochEnds++;
    }
  }

  @Test
  void theNetworkIsNotTrainedAloneWhileItIsTrainedTogether() throws Exception {
    DataSet batch = Networks.vectors(8).get(0);
    MultiLayerNetwork network = Networks.dense(builder -> builder);

    try (var training = ParallelTraining.threads(network, 2)) {
      training.fit(batch);
      assertThatThrownBy(() -> network.fit(batch))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("trained on several ranks");
    }

    network.fit(batch);
    assertThat(network.getIterationCount()).isEqualTo(2);
  }

  @Test
  void anUpdaterThatWasReplacedIsNoticed() throws Exception {
    DataSet batch = Networks.vectors(8).get(0);
    MultiLayerNetwork network = Networks.dense(builder -> builder);

    try (var training = ParallelTraining.threads(network, 1)) {
      network.clear();
      assertThatThrownBy(() -> training.fit(batch))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("without the other ranks' gradients");
    }
  }

  /** Deeplearning4j goes on by itself where such a layer's helper fails. */
  @Test
  void aRankThatIsLostInTheMidstOfAPassIsNamed() throws Exception {
    List<Future<Boolean>> ranks =
        Ranks.run(
            2,
            world -> {
              DataSet batch = Networks.vectors(4).get(0);
              try (var rank = DataParallelNetwork.of(Networks.normalized(), world)) {
                if (world.rank() == 1) { // fails before the layer that normalises
                  batch.setFeatures(Nd4j.create(4, Networks.FEATURES + 1));
                }
                rank.fitShards(batches(List.of(batch)), 1);
              }
              return true;
            });

    assertThatThrownBy(ranks.get(1)::get).hasMessageContaining("columns");
    assertThatThrownBy(ranks.get(0)::get)
        .hasCauseInstanceOf(CollectiveException.class)
        .hasMessageContaining("rank 1");
  }

  @Test
  void layersNormaliseByThemselvesOutsideOfCommonTraining() throws Exception {
    DataSet batch = Networks.vectors(7).get(0);
    MultiLayerNetwork alone = Networks.normalized();
    MultiLayerNetwork together = Networks.normalized();
    alone.fit(batch);
    alone.fit(batch);

    try (var training = ParallelTraining.threads(together, 2)) {
      training.fit(batch);
      INDArray used = together.output(batch.getFeatures());
      assertThat(used).isEqualTo(together.clone().output(batch.getFeatures()));
      together.feedForward(batch.getFeatures(), true);
    }
    together.fit(batch);

    ParityTest.assertClose(together, alone, TOLERANCE);
  }

  @Test
  void optimisationThatSearchesAlongALineIsRefused() {
    MultiLayerNetwork network =
        Networks.dense(builder -> builder.optimizationAlgo(OptimizationAlgorithm.LBFGS));

    assertThatThrownBy(() -> ParallelTraining.threads(network, 2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("optimised by LBFGS")
        .hasMessageContaining("optimizationAlgo(STOCHASTIC_GRADIENT_DESCENT)");
  }

  @Test
  void whatFailsOnOneRankIsToldWithItsNameAndTheOthersEnd() throws Exception {
    MultiLayerNetwork network = Networks.dense(builder -> builder);
    List<DataSet> batches = Networks.vectors(8, 8);

    try (var training = ParallelTraining.threads(network, 2)) {
      training.fit(batches.get(0));
      DataSet damaged = batches.get(1);
      damaged.setLabels(damaged.getLabels().get(NDArrayIndex.interval(0, 4)));
      assertThatThrownBy(() -> training.fit(damaged)).hasMessageContaining("rank 1");
      assertThatThrownBy(() -> training.fit(batches.get(0)))
          .hasMessageContaining("A rank has failed before");
    }
  }
}
