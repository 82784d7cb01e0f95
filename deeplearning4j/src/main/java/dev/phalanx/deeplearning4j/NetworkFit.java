package dev.phalanx.deeplearning4j;

import dev.phalanx.trainer.data.DataException;
import java.util.Arrays;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.conf.BackpropType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;

/** Whether a network and samples are made for each other. */
final class NetworkFit {
  private NetworkFit() {}

  /**
   * The network of a plan.
   *
   * @throws DataException where several ranks cannot train it
   */
  static TrainedNetwork trained(Model network) {
    try {
      return TrainedNetwork.of(network);
    } catch (IllegalArgumentException e) {
      throw DataException.plan("model.path", String.valueOf(e.getMessage()));
    }
  }

  /**
   * Lets the network look at one sample.
   *
   * @throws DataException where its layers take other features, or give something else than labels
   */
  static void require(TrainedNetwork network, Samples samples) {
    if (!network.hasLoss()) {
      throw DataException.plan(
          "model.path",
          "the network's last layer is no output layer, so it has no loss to train by");
    }
    if (network.backpropagation() == BackpropType.TruncatedBPTT) {
      throw DataException.plan(
          "model.path",
          "the network cuts time series into parts (truncated backpropagation through time), and"
              + " a plan's samples are no time series; train it from Java");
    }
    DataSet one = samples.read(0);
    INDArray output;
    try {
      output = network.output(one.getFeatures());
    } catch (RuntimeException e) { // of any of its layers
      throw DataException.plan(
          "data.kind",
          "the network does not take samples of "
              + samples.featureCount()
              + " features: "
              + e.getMessage());
    }
    long[] labels = one.getLabels().shape();
    if (!Arrays.equals(output.shape(), labels)) {
      throw DataException.plan(
          "data.kind",
          "the network's output for one sample has the shape "
              + Arrays.toString(output.shape())
              + ", and its labels have "
              + Arrays.toString(labels)
              + "; change the output layer, or the number of classes or label columns");
    }
  }

  /**
   * Whether a plan's codec or optimizer can do its work on the network's own terms.
   *
   * @throws DataException where it cannot
   */
  static void require(TrainedNetwork network, TrainingOptions options) {
    try {
      DataParallelNetwork.requireFit(network, options);
    } catch (IllegalArgumentException e) {
      throw DataException.plan(
          options.optimizer().isPresent() ? "optimizer.kind" : "communication.compression.kind",
          String.valueOf(e.getMessage()));
    }
  }

  /**
   * How many samples have their largest output where the label is.
   *
   * @param outputs [n, classes]
   * @param labels [n, classes], one-hot
   */
  static long right(INDArray outputs, INDArray labels) {
    return outputs
        .argMax(1)
        .eq(labels.argMax(1))
        .castTo(outputs.dataType())
        .sumNumber()
        .longValue();
  }
}
