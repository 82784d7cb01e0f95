package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Optional;
import java.util.concurrent.Future;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;

/** What is seen of gradients before they update anything. */
final class StepWatchTest {
  private static final int SAMPLES = 7;
  private static final DataSet BATCH = Networks.vectors(SAMPLES).get(0);

  /** What a rank has seen and come to. */
  private record Seen(double norm, double loss, int votes, INDArray parameters) {}

  /** Those of the whole batch, by Deeplearning4j alone. */
  private static INDArray gradients(MultiLayerNetwork network) {
    network.setInput(BATCH.getFeatures());
    network.setLabels(BATCH.getLabels());
    network.computeGradientAndScore();
    return network.gradient().gradient().div(SAMPLES);
  }

  @ParameterizedTest
  @CsvSource({
    "1, false, false",
    "3, false, false",
    "1, true, false",
    "2, true, false",
    "3, true, true"
  })
  void theNormIsThatOfTheWholeBatchWhoeverUpdates(int ranks, boolean isOurs, boolean isSharded)
      throws Exception {
    MultiLayerNetwork alone = Networks.dense(builder -> builder);
    INDArray gradients = gradients(alone);

    for (Future<Seen> rank : train(ranks, optimizer(isOurs, isSharded), 1)) {
      assertThat(rank.get().norm()).isCloseTo(gradients.norm2Number().doubleValue(), within(1e-6));
      assertThat(rank.get().loss()).isCloseTo(alone.score(), within(1e-6));
      assertThat(rank.get().votes()).isEqualTo(ranks - 1);
    }
  }

  private static Optional<NetworkOptimizer> optimizer(boolean isOurs, boolean isSharded) {
    NetworkOptimizer sgd = NetworkOptimizer.sgd(iteration -> 1, 0, 0);
    return isOurs ? Optional.of(isSharded ? sgd.sharded() : sgd) : Optional.empty();
  }

  /** As clipping does. */
  @Test
  void ourOptimizersUpdateWithTheGradientsTimesTheAnswer() throws Exception {
    MultiLayerNetwork alone = Networks.dense(builder -> builder);
    INDArray expected = alone.params().sub(gradients(alone).mul(0.25).reshape(1, -1));

    for (Future<Seen> rank : train(2, optimizer(true, true), 0.25)) {
      assertThat(rank.get().parameters().sub(expected).norm2Number().doubleValue())
          .isLessThan(1e-5);
    }
  }

  /** Every rank but the first one votes. */
  private static List<Future<Seen>> train(
      int ranks, Optional<NetworkOptimizer> optimizer, double answer) throws Exception {
    return Ranks.run(
        ranks,
        world -> {
          MultiLayerNetwork network = Networks.dense(builder -> builder);
          TrainingOptions options =
              optimizer.map(TrainingOptions.DEFAULT::withOptimizer).orElse(TrainingOptions.DEFAULT);
          double[] found = new double[2]; // norm, loss
          try (var rank = DataParallelNetwork.of(network, world, options)) {
            rank.reducer()
                .watch(
                    seen -> {
                      found[0] = seen;
                      found[1] = network.score();
                      return answer;
                    });
            rank.reducer().vote(world.rank() > 0);
            rank.fit(BATCH);
            return new Seen(found[0], found[1], rank.reducer().votes(), network.params().dup());
          }
        });
  }
}
