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
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;

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
    DataSet batch = Networks.images(9_000).get(0);
    MultiLayerNetwork alone = Networks.convolutions(kernel -> kernel.kernelSize(3, 3));
    MultiLayerNetwork together = Networks.convolutions(kernel -> kernel.kernelSize(3, 3));
    INDArray expected = alone.output(batch.getFeatures());
    alone.fit(batch);

    try (var training = ParallelTraining.threads(together, 1)) {
      INDArray found = together.output(batch.getFeatures());
      assertThat(found.equalsWithEps(expected, 1e-5)).isTrue();
      training.fit(batch);
      for (Layer layer : together.getLayers()) {
        assertThat(failures(layer)).isZero();
      }
    }

    ParityTest.assertClose(together, alone, 1e-5);
  }
}
