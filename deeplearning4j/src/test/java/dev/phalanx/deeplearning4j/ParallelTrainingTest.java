package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.nd4j.linalg.dataset.DataSet;

/** Beginning and end of training with threads. */
final class ParallelTrainingTest {
  private static final DataSet BATCH = Networks.vectors(8).get(0);

  private static List<String> threadsOfRanks() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(Thread::isAlive)
        .map(Thread::getName)
        .filter(name -> name.startsWith("rank-"))
        .toList();
  }

  @Test
  void closingTwiceIsClosingOnceAndTheThreadsHaveEnded() throws Exception {
    MultiLayerNetwork network = Networks.dense(builder -> builder);
    var training = ParallelTraining.threads(network, 3);
    training.fit(BATCH);
    assertThat(threadsOfRanks()).containsExactlyInAnyOrder("rank-1", "rank-2");

    training.close();
    training.close();

    assertThat(threadsOfRanks()).isEmpty();
    network.fit(BATCH);
    assertThat(network.getIterationCount()).isEqualTo(2);
  }

  @Test
  void fitAfterCloseIsRefusedWithASentence() throws Exception {
    var training = ParallelTraining.threads(Networks.dense(builder -> builder), 2);
    training.close();

    assertThatThrownBy(() -> training.fit(BATCH))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
  }

  /** Rank 0 is ready by then: it must not stay so. */
  @Test
  void whereAThreadCannotBeginTheNetworkTrainsAloneAsBefore() throws Exception {
    NetworkOptimizer descent = NetworkOptimizer.sgd(iteration -> 0.1, 0, 0);
    NetworkOptimizer failing =
        new NetworkOptimizer(
            "sgd",
            (arena, values) -> {
              if (Thread.currentThread().getName().equals("rank-1")) {
                throw new IllegalStateException("no memory for the state");
              }
              return descent.factory().of(arena, values);
            },
            descent.learningRate(),
            false);
    MultiLayerNetwork network = Networks.dense(builder -> builder);

    assertThatThrownBy(
            () ->
                ParallelTraining.threads(
                    network, 2, TrainingOptions.DEFAULT.withOptimizer(failing)))
        .hasMessageContaining("rank 1: no memory for the state");

    assertThat(threadsOfRanks()).isEmpty();
    network.fit(BATCH);
    assertThat(network.getIterationCount()).isEqualTo(1);
  }
}
