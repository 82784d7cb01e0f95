package dev.phalanx.deeplearning4j;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.reflect.Field;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.conf.CNN2DFormat;
import org.deeplearning4j.nn.conf.layers.BatchNormalization;
import org.deeplearning4j.nn.layers.convolution.ConvolutionLayer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;

/** Where a helper fails, Deeplearning4j warns and goes on by itself: results would not tell. */
final class LayerHelpersTest {
  static Stream<UnaryOperator<org.deeplearning4j.nn.conf.layers.ConvolutionLayer.Builder>> kinds() {
    return Networks.kindsOfConvolution().values().stream();
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void convolutionsAreComputedHereAndNowhereElse(
      UnaryOperator<org.deeplearning4j.nn.conf.layers.ConvolutionLayer.Builder> kind)
      throws Exception {
    assertThatHelpersCompute(Networks.convolutions(kind), Networks.images(8, 3), 2);
  }

  @Test
  void convolutionsAndNormalizationsOfImagesAreComputedHere() throws Exception {
    assertThatHelpersCompute(
        Networks.normalizedImages(new BatchNormalization(), CNN2DFormat.NCHW),
        Networks.images(8, 3),
        2);
    assertThatHelpersCompute(Networks.normalized(), Networks.vectors(8, 3), 1);
  }

  private static void assertThatHelpersCompute(
      MultiLayerNetwork network, List<DataSet> batches, int expected) throws Exception {
    try (var training = ParallelTraining.threads(network, 2)) {
      for (DataSet batch : batches) {
        training.fit(batch);
      }
      assertThat(network.getLayers())
          .filteredOn(each -> each.getHelper() != null)
          .hasSize(expected);
      for (Layer layer : network.getLayers()) {
        assertThat(failures(layer)).isZero();
      }
    }
    assertThat(network.getLayers()).allMatch(each -> each.getHelper() == null);
  }

  private static int failures(Layer layer) throws ReflectiveOperationException {
    if (layer.getHelper() == null) {
      return 0;
    }
    Class<?> kind = layer instanceof ConvolutionLayer ? ConvolutionLayer.class : layer.getClass();
    Field failures = kind.getDeclaredField("helperCountFail");
    failures.setAccessible(true);
    return failures.getInt(layer);
  }

  /** Of which there are more columns than are computed at once. */
  @Test
  void manySamplesAreWhatEachOfThemIs() throws Exception {
    MultiLayerNetwork network = Networks.convolutions(kernel -> kernel.kernelSize(3, 3).nOut(16));
    INDArray images = Nd4j.rand(DataType.FLOAT, 20_000, 1, Networks.SIDE, Networks.SIDE);
    INDArray expected = network.output(images);
    try (var training = ParallelTraining.threads(network, 1)) {
      assertThat(training.network().output(images).equalsWithEps(expected, 1e-5)).isTrue();
    }
  }
}
