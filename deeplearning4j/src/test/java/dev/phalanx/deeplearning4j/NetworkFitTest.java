package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.trainer.data.DataException;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.ConvolutionLayer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

/** Whether a network and a plan's samples are made for each other. */
final class NetworkFitTest {
  private static final int COUNT = 5;

  /** Sample i has features of i and the class 1. */
  private record Flat(int featureCount) implements Samples {
    @Override
    public int count() {
      return COUNT;
    }

    @Override
    public int labelCount() {
      return Networks.CLASSES;
    }

    @Override
    public List<String> classes() {
      return List.of("a", "b", "c");
    }

    @Override
    public DataSet read(int... numbers) {
      INDArray features = Nd4j.create(DataType.FLOAT, numbers.length, featureCount);
      INDArray labels = Nd4j.zeros(DataType.FLOAT, numbers.length, labelCount());
      for (int sample = 0; sample < numbers.length; sample++) {
        features.getRow(sample).assign(numbers[sample]);
        labels.putScalar(sample, 1, 1);
      }
      return new DataSet(features, labels);
    }
  }

  private static NetworkData.Normalized images(int rows, int columns) {
    Samples flat = new Flat(rows * columns);
    return new NetworkData.Normalized(
        flat, Optional.of(flat), Optional.empty(), Optional.of(new ImageShape(rows, columns)));
  }

  private static NetworkData.Normalized fitting(Model network, NetworkData.Normalized data) {
    return NetworkFit.fitting(TrainedNetwork.of(network), data);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aConvolutionalNetworkGetsImages(boolean isGraph) {
    MultiLayerNetwork layers = Networks.convolutional(UnaryOperator.identity());
    Model network = isGraph ? layers.toComputationGraph() : layers;

    NetworkData.Normalized found = fitting(network, images(Networks.SIDE, Networks.SIDE));

    for (Samples samples : List.of(found.training(), found.heldOut().orElseThrow())) {
      DataSet batch = samples.read(3, 4);
      assertThat(batch.getFeatures().shape()).containsExactly(2, 1, Networks.SIDE, Networks.SIDE);
      assertThat(batch.getFeatures().getFloat(1, 0, 7, 7)).isEqualTo(4);
      // What the network said of flat samples has left nothing open.
      assertThat(TrainedNetwork.of(network).score(batch)).isFinite();
    }
  }

  @Test
  void aNetworkThatTakesFlatImagesGetsThem() {
    MultiLayerNetwork convolutional =
        Networks.initialized(
            Networks.builder()
                .list()
                .layer(new ConvolutionLayer.Builder(2, 2).nOut(2).build())
                .layer(new OutputLayer.Builder(LossFunction.MSE).nOut(Networks.CLASSES).build())
                .setInputType(InputType.convolutionalFlat(2, 3, 1)));

    for (Model network : List.of(convolutional, Networks.dense(UnaryOperator.identity()))) {
      NetworkData.Normalized found = fitting(network, images(2, 3));
      assertThat(found.training().read(0, 1).getFeatures().shape()).containsExactly(2, 6);
    }
  }

  @Test
  void bothShapesThatWereTriedAreSaid() {
    Model network = Networks.convolutional(UnaryOperator.identity());

    assertThatThrownBy(() -> fitting(network, images(4, 5)))
        .isInstanceOfSatisfying(
            DataException.class, e -> assertThat(e.keyPath()).isEqualTo("data.kind"))
        .hasMessageContaining("takes neither samples of 20 features (")
        .hasMessageContaining(") nor images of 1 x 4 x 5 (");
  }

  @Test
  void rowsOfTablesAreNoImages() {
    Model network = Networks.convolutional(UnaryOperator.identity());
    NetworkData.Normalized table =
        new NetworkData.Normalized(
            new Flat(64), Optional.empty(), Optional.empty(), Optional.empty());

    assertThatThrownBy(() -> fitting(network, table))
        .hasMessageContaining("does not take samples of 64 features: ");
  }

  /** In bf16 a sum of ones ends at 256. */
  @Test
  void rightAnswersAreCountedExactlyInEveryPrecision() {
    INDArray outputs = Nd4j.zeros(DataType.BFLOAT16, 700, 2);
    INDArray labels = Nd4j.zeros(DataType.BFLOAT16, 700, 2);
    for (int sample = 0; sample < 700; sample++) {
      outputs.putScalar(sample, 1, 1);
      labels.putScalar(sample, sample < 601 ? 1 : 0, 1);
    }
    assertThat(NetworkFit.right(outputs, labels)).isEqualTo(601);
  }
}
