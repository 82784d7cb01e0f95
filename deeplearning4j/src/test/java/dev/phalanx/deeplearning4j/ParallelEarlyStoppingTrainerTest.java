package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import org.deeplearning4j.datasets.iterator.ExistingDataSetIterator;
import org.deeplearning4j.earlystopping.EarlyStoppingConfiguration;
import org.deeplearning4j.earlystopping.EarlyStoppingResult;
import org.deeplearning4j.earlystopping.scorecalc.DataSetLossCalculator;
import org.deeplearning4j.earlystopping.termination.IterationTerminationCondition;
import org.deeplearning4j.earlystopping.termination.MaxEpochsTerminationCondition;
import org.deeplearning4j.earlystopping.trainer.EarlyStoppingTrainer;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.optimize.api.BaseTrainingListener;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.schedule.MapSchedule;
import org.nd4j.linalg.schedule.ScheduleType;

final class ParallelEarlyStoppingTrainerTest {
  @TempDir private Path folder = Path.of("");

  private static DataSetIterator batches() {
    return new ExistingDataSetIterator(Networks.vectors(8, 7, 8));
  }

  /** Its learning rate follows epochs, which all ranks must count alike. */
  private static MultiLayerNetwork network() {
    return Networks.dense(
        builder ->
            builder.updater(
                new Adam(
                    new MapSchedule.Builder(ScheduleType.EPOCH)
                        .add(0, 0.01)
                        .add(1, 0.03)
                        .add(3, 0.001)
                        .build())));
  }

  private static EarlyStoppingConfiguration.Builder<MultiLayerNetwork> configuration() {
    return new EarlyStoppingConfiguration.Builder<MultiLayerNetwork>()
        .epochTerminationConditions(new MaxEpochsTerminationCondition(5))
        .scoreCalculator(new DataSetLossCalculator(batches(), true));
  }

  @Test
  void severalThreadsFindTheModelThatOneFinds() throws Exception {
    EarlyStoppingResult<MultiLayerNetwork> alone =
        new EarlyStoppingTrainer(configuration().build(), network(), batches()).fit();

    MultiLayerNetwork network = network();
    EarlyStoppingResult<MultiLayerNetwork> together;
    try (var training = ParallelTraining.threads(network, 2)) {
      together =
          new ParallelEarlyStoppingTrainer<>(configuration().build(), training, batches()).fit();
    }

    assertThat(together.getTerminationReason()).isEqualTo(alone.getTerminationReason());
    assertThat(together.getBestModelEpoch()).isEqualTo(alone.getBestModelEpoch());
    ParityTest.assertClose(together.getBestModel(), alone.getBestModel(), 1e-5);
  }

  /** Batches are asked for ahead from there on, in an order that may follow from the number. */
  @Test
  void theNetworkHasTheEpochsNumberWhenItsIteratorIsReset() throws Exception {
    MultiLayerNetwork network = network();
    List<Integer> whenReset = new ArrayList<>();
    List<Integer> whenBegun = new ArrayList<>();
    DataSetIterator batches =
        new ExistingDataSetIterator(Networks.vectors(8, 7, 8)) {
          @Override
          public void reset() {
            whenReset.add(network.getEpochCount());
            super.reset();
          }
        };
    network.setListeners(
        new BaseTrainingListener() {
          @Override
          public void onEpochStart(Model model) {
            whenBegun.add(network.getEpochCount());
          }
        });
    try (var training = ParallelTraining.threads(network, 2)) {
      new ParallelEarlyStoppingTrainer<>(configuration().build(), training, batches).fit();
    }

    assertThat(whenBegun).containsExactly(0, 1, 2, 3, 4);
    assertThat(whenReset).isEqualTo(whenBegun);
  }

  @Test
  void aCheckpointOfEarlyStoppingLeavesNoBatchesOutOfTheNextEpoch() throws Exception {
    TrainingOptions saving = TrainingOptions.DEFAULT.withCheckpoints(folder, 0, 1);
    try (var training = ParallelTraining.threads(network(), 2, saving)) {
      new ParallelEarlyStoppingTrainer<>(configuration().build(), training, batches()).fit();
      training.saveCheckpoint();
    }

    MultiLayerNetwork resumed = network();
    try (var training = ParallelTraining.threads(resumed, 2)) {
      training.resume(folder);
      training.fit(batches(), 1);
    }

    assertThat(resumed.getIterationCount()).isEqualTo((5 + 1) * 3);
  }

  @Test
  void ranksStopTogetherWhereRankZeroStops() throws Exception {
    List<Future<EarlyStoppingResult<MultiLayerNetwork>>> ranks =
        Ranks.run(
            2,
            world -> {
              EarlyStoppingConfiguration<MultiLayerNetwork> configuration =
                  configuration()
                      .iterationTerminationConditions(
                          new AfterIterations(world.rank() == 0 ? 4 : 1000))
                      .build();
              try (var rank = DataParallelNetwork.of(network(), world)) {
                return new ParallelEarlyStoppingTrainer<>(configuration, rank, batches()).fit();
              }
            });

    for (Future<EarlyStoppingResult<MultiLayerNetwork>> rank : ranks) {
      assertThat(rank.get().getTerminationReason())
          .isEqualTo(EarlyStoppingResult.TerminationReason.IterationTerminationCondition);
      ParityTest.assertClose(rank.get().getBestModel(), ranks.get(0).get().getBestModel(), 0);
    }
  }

  @Test
  void ranksStopTogetherWhereRankZeroStopsAfterAnEpoch() throws Exception {
    List<Future<EarlyStoppingResult<MultiLayerNetwork>>> ranks =
        Ranks.run(
            2,
            world -> {
              EarlyStoppingConfiguration<MultiLayerNetwork> configuration =
                  configuration()
                      .epochTerminationConditions(
                          new MaxEpochsTerminationCondition(world.rank() == 0 ? 2 : 4))
                      .build();
              try (var rank = DataParallelNetwork.of(network(), world)) {
                return new ParallelEarlyStoppingTrainer<>(configuration, rank, batches()).fit();
              }
            });

    for (Future<EarlyStoppingResult<MultiLayerNetwork>> rank : ranks) {
      assertThat(rank.get().getTerminationReason())
          .isEqualTo(EarlyStoppingResult.TerminationReason.EpochTerminationCondition);
      assertThat(rank.get().getTotalEpochs()).isEqualTo(2);
    }
  }

  @Test
  void aFailureIsNoResult() throws Exception {
    for (int failing : new int[] {1, 4}) { // with the best model of an epoch, and without any
      MultiLayerNetwork network = network();
      network.setListeners(
          new BaseTrainingListener() {
            @Override
            public void iterationDone(Model model, int iteration, int epoch) {
              if (iteration == failing) {
                throw new IllegalStateException("the disk is full");
              }
            }
          });

      try (var training = ParallelTraining.threads(network, 2)) {
        var trainer =
            new ParallelEarlyStoppingTrainer<>(configuration().build(), training, batches());
        assertThatThrownBy(trainer::fit)
            .isInstanceOf(IllegalStateException.class)
            .hasMessageContaining("the disk is full");
      }
    }
  }

  /** As a clock would, it says other things on other ranks. */
  private static final class AfterIterations implements IterationTerminationCondition {
    private static final long serialVersionUID = 1L;

    private int left;

    AfterIterations(int count) {
      this.left = count;
    }

    @Override
    public void initialize() {
      // counts from where it is
    }

    @Override
    public boolean terminate(double lastScore) {
      return --left == 0;
    }
  }
}
