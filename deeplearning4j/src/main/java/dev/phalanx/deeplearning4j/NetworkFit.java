package dev.phalanx.deeplearning4j;

import dev.phalanx.trainer.data.DataException;
import java.util.Arrays;
import java.util.Optional;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.conf.BackpropType;
import org.nd4j.linalg.api.buffer.DataType;
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
   * Lets the network look at one sample, and finds out which shape of samples it takes.
   *
   * @return the data in that shape
   * @throws DataException where its layers take other features, or give something else than labels
   */
  static NetworkData.Normalized fitting(TrainedNetwork network, NetworkData.Normalized data) {
    requireLossOfSamples(network);
    NetworkData.Normalized fitting = inShapeOf(network, data);
    DataSet one = fitting.training().read(0);
    long[] output = network.output(one.getFeatures()).shape();
    long[] labels = one.getLabels().shape();
    if (!Arrays.equals(output, labels)) {
      throw DataException.plan(
          "data.kind",
          "the network's output for one sample has the shape "
              + Arrays.toString(output)
              + ", and its labels have "
              + Arrays.toString(labels)
              + "; change the output layer, or the number of classes or label columns");
    }
    return fitting;
  }

  private static void requireLossOfSamples(TrainedNetwork network) {
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
  }

  /** The numbers of a sample in a row or, of images, in rows and columns. */
  private static NetworkData.Normalized inShapeOf(
      TrainedNetwork network, NetworkData.Normalized data) {
    Optional<String> problem = problem(network, data.training());
    if (problem.isEmpty()) {
      return data;
    }
    String flat = data.training().featureCount() + " features";
    if (data.image().isEmpty()) {
      throw DataException.plan(
          "data.kind", "the network does not take samples of " + flat + ": " + problem.get());
    }
    ImageShape shape = data.image().get();
    NetworkData.Normalized images = data.shaped(shape);
    Optional<String> problemOfImages = problem(network, images.training());
    if (problemOfImages.isEmpty()) {
      return images;
    }
    throw DataException.plan(
        "data.kind",
        String.format(
            "the network takes neither samples of %s (%s) nor images of %s (%s)",
            flat, problem.get(), shape, problemOfImages.get()));
  }

  /** What the network says of a sample that it does not take. */
  private static Optional<String> problem(TrainedNetwork network, Samples samples) {
    try {
      network.output(samples.read(0).getFeatures());
      return Optional.empty();
    } catch (RuntimeException e) { // of any of its layers
      return Optional.of(String.valueOf(e.getMessage()));
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
        .castTo(DataType.LONG) // of bf16 a sum would not be exact beyond 256
        .sumNumber()
        .longValue();
  }
}
