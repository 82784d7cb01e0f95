package dev.phalanx.deeplearning4j;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.deeplearning4j.nn.conf.BackpropType;
import org.deeplearning4j.nn.conf.CNN2DFormat;
import org.deeplearning4j.nn.conf.ComputationGraphConfiguration;
import org.deeplearning4j.nn.conf.ConvolutionMode;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.graph.MergeVertex;
import org.deeplearning4j.nn.conf.graph.rnn.LastTimeStepVertex;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.BatchNormalization;
import org.deeplearning4j.nn.conf.layers.ConvolutionLayer;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.conf.layers.SubsamplingLayer;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.weights.WeightInit;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.MultiDataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

/** Small networks of every kind, and data for them. Equal arguments give equal bits. */
final class Networks {
  static final int CLASSES = 3;
  static final int FEATURES = 6;
  static final int SIDE = 8;
  static final int TIME = 5;

  private Networks() {}

  static NeuralNetConfiguration.Builder builder() {
    return new NeuralNetConfiguration.Builder()
        .seed(7)
        .weightInit(WeightInit.XAVIER)
        .updater(new Adam(1e-2));
  }

  static MultiLayerNetwork dense(UnaryOperator<NeuralNetConfiguration.Builder> change) {
    return initialized(
        change
            .apply(builder())
            .list()
            .layer(new DenseLayer.Builder().nOut(10).activation(Activation.TANH).build())
            .layer(output())
            .setInputType(InputType.feedForward(FEATURES)));
  }

  static MultiLayerNetwork convolutional(UnaryOperator<NeuralNetConfiguration.Builder> change) {
    return initialized(
        change
            .apply(builder())
            .convolutionMode(ConvolutionMode.Same)
            .list()
            .layer(new ConvolutionLayer.Builder(3, 3).nOut(4).activation(Activation.RELU).build())
            .layer(new SubsamplingLayer.Builder().kernelSize(2, 2).stride(2, 2).build())
            .layer(new DenseLayer.Builder().nOut(8).activation(Activation.TANH).build())
            .layer(output())
            .setInputType(InputType.convolutional(SIDE, SIDE, 1)));
  }

  static Map<String, UnaryOperator<ConvolutionLayer.Builder>> kindsOfConvolution() {
    Map<String, UnaryOperator<ConvolutionLayer.Builder>> kinds = new LinkedHashMap<>();
    kinds.put("strides", kernel -> kernel.kernelSize(3, 2).stride(2, 1));
    kinds.put("padding", kernel -> kernel.kernelSize(4, 3).stride(3, 2).padding(2, 1));
    kinds.put("dilation", kernel -> kernel.kernelSize(2, 3).dilation(2, 1));
    kinds.put("no bias", kernel -> kernel.kernelSize(3, 3).hasBias(false));
    kinds.put(
        "same, even kernel",
        kernel -> kernel.kernelSize(2, 4).stride(1, 3).convolutionMode(ConvolutionMode.Same));
    kinds.put(
        "same, dilation",
        kernel -> kernel.kernelSize(3, 2).dilation(2, 2).convolutionMode(ConvolutionMode.Same));
    return kinds;
  }

  /** A convolution of images and one of what that has made, which needs gradients of its input. */
  static MultiLayerNetwork convolutions(UnaryOperator<ConvolutionLayer.Builder> kind) {
    return initialized(
        builder()
            .updater(new Sgd(0.1))
            .list()
            .layer(new ConvolutionLayer.Builder(2, 2).nOut(3).activation(Activation.TANH).build())
            .layer(
                kind.apply(new ConvolutionLayer.Builder().nOut(4))
                    .activation(Activation.SIGMOID)
                    .build())
            .layer(output())
            .setInputType(InputType.convolutional(SIDE, SIDE, 1)));
  }

  static MultiLayerNetwork normalized() {
    return normalized(new BatchNormalization.Builder().useLogStd(false).decay(0.8).build());
  }

  /**
   * With SGD: what is before a normalisation has gradients of rounding alone, which Adam blows up.
   */
  static MultiLayerNetwork normalized(BatchNormalization normalization) {
    return initialized(
        builder()
            .updater(new Sgd(0.1))
            .list()
            .layer(new DenseLayer.Builder().nOut(10).activation(Activation.IDENTITY).build())
            .layer(normalization)
            .layer(output())
            .setInputType(InputType.feedForward(FEATURES)));
  }

  static MultiLayerNetwork normalizedImages(BatchNormalization normalization, CNN2DFormat format) {
    return normalizedImages(normalization, format, builder -> builder);
  }

  /** Normalises the channels of images. */
  static MultiLayerNetwork normalizedImages(
      BatchNormalization normalization,
      CNN2DFormat format,
      UnaryOperator<NeuralNetConfiguration.Builder> change) {
    return initialized(
        change
            .apply(builder())
            .updater(new Sgd(0.1))
            .convolutionMode(ConvolutionMode.Same)
            .list()
            .layer(
                new ConvolutionLayer.Builder(3, 3)
                    .nOut(4)
                    .dataFormat(format)
                    .activation(Activation.IDENTITY)
                    .build())
            .layer(normalization)
            .layer(new DenseLayer.Builder().nOut(8).activation(Activation.TANH).build())
            .layer(output())
            .setInputType(InputType.convolutional(SIDE, SIDE, 1, format)));
  }

  static NeuralNetConfiguration.ListBuilder recurrentLayers(
      UnaryOperator<NeuralNetConfiguration.Builder> change) {
    return change
        .apply(builder())
        .list()
        .layer(new LSTM.Builder().nOut(7).activation(Activation.TANH).build())
        .layer(
            new RnnOutputLayer.Builder(LossFunction.MCXENT)
                .nOut(CLASSES)
                .activation(Activation.SOFTMAX)
                .build())
        .setInputType(InputType.recurrent(FEATURES));
  }

  static MultiLayerNetwork recurrent(UnaryOperator<NeuralNetConfiguration.Builder> change) {
    return initialized(recurrentLayers(change));
  }

  /** Two inputs and two outputs. */
  static ComputationGraph graph(UnaryOperator<NeuralNetConfiguration.Builder> change) {
    ComputationGraphConfiguration configuration =
        change
            .apply(builder())
            .graphBuilder()
            .addInputs("left", "right")
            .addLayer("a", new DenseLayer.Builder().nOut(5).build(), "left")
            .addLayer("b", new DenseLayer.Builder().nOut(6).build(), "right")
            .addVertex("both", new MergeVertex(), "a", "b")
            .addLayer("first", output(), "both")
            .addLayer(
                "second",
                new OutputLayer.Builder(LossFunction.MSE)
                    .nOut(2)
                    .activation(Activation.IDENTITY)
                    .build(),
                "both")
            .setOutputs("first", "second")
            .setInputTypes(InputType.feedForward(FEATURES), InputType.feedForward(4))
            .build();
    ComputationGraph graph = new ComputationGraph(configuration);
    graph.init();
    return graph;
  }

  /** Truncated backpropagation over time series whose labels are none. */
  static ComputationGraph truncatedGraph() {
    ComputationGraph graph =
        new ComputationGraph(
            builder()
                .graphBuilder()
                .addInputs("in")
                .addLayer("series", new LSTM.Builder().nOut(5).build(), "in")
                .addVertex("last", new LastTimeStepVertex("in"), "series")
                .addLayer("out", output(), "last")
                .setOutputs("out")
                .setInputTypes(InputType.recurrent(FEATURES))
                .backpropType(BackpropType.TruncatedBPTT)
                .tBPTTLength(2)
                .validateTbpttConfig(false)
                .build());
    graph.init();
    return graph;
  }

  /** One input and one output. */
  static ComputationGraph singleGraph() {
    ComputationGraph graph =
        new ComputationGraph(
            builder()
                .graphBuilder()
                .addInputs("in")
                .addLayer("hidden", new DenseLayer.Builder().nOut(5).build(), "in")
                .addLayer("out", output(), "hidden")
                .setOutputs("out")
                .setInputTypes(InputType.feedForward(FEATURES))
                .build());
    graph.init();
    return graph;
  }

  private static OutputLayer output() {
    return new OutputLayer.Builder(LossFunction.MCXENT)
        .nOut(CLASSES)
        .activation(Activation.SOFTMAX)
        .build();
  }

  static MultiLayerNetwork initialized(MultiLayerConfiguration.Builder layers) {
    MultiLayerNetwork network = new MultiLayerNetwork(layers.build());
    network.init();
    return network;
  }

  // ------------------------------------------------------------------------------------------ data

  /**
   * @param sizes samples of each batch
   */
  static List<DataSet> vectors(int... sizes) {
    Random random = new Random(1);
    List<DataSet> batches = new ArrayList<>();
    for (int size : sizes) {
      batches.add(new DataSet(numbers(random, size, FEATURES), labels(random, size)));
    }
    return batches;
  }

  static List<DataSet> images(int... sizes) {
    Random random = new Random(2);
    List<DataSet> batches = new ArrayList<>();
    for (int size : sizes) {
      batches.add(new DataSet(numbers(random, size, 1, SIDE, SIDE), labels(random, size)));
    }
    return batches;
  }

  /** Time series of different lengths, masked. */
  static List<DataSet> series(int... sizes) {
    Random random = new Random(3);
    List<DataSet> batches = new ArrayList<>();
    for (int size : sizes) {
      INDArray labels = Nd4j.zeros(DataType.FLOAT, size, CLASSES, TIME);
      INDArray mask = Nd4j.zeros(DataType.FLOAT, size, TIME);
      for (int sample = 0; sample < size; sample++) {
        int length = 1 + random.nextInt(TIME);
        for (int time = 0; time < TIME; time++) {
          labels.putScalar(new int[] {sample, random.nextInt(CLASSES), time}, 1);
          mask.putScalar(sample, time, time < length ? 1 : 0);
        }
      }
      batches.add(new DataSet(numbers(random, size, FEATURES, TIME), labels, mask, mask.dup()));
    }
    return batches;
  }

  static List<MultiDataSet> pairs(int... sizes) {
    Random random = new Random(4);
    List<MultiDataSet> batches = new ArrayList<>();
    for (int size : sizes) {
      batches.add(
          new MultiDataSet(
              new INDArray[] {numbers(random, size, FEATURES), numbers(random, size, 4)},
              new INDArray[] {labels(random, size), numbers(random, size, 2)}));
    }
    return batches;
  }

  private static INDArray numbers(Random random, long... shape) {
    INDArray numbers = Nd4j.create(DataType.FLOAT, shape);
    for (long i = 0; i < numbers.length(); i++) {
      numbers.putScalar(i, (float) random.nextGaussian());
    }
    return numbers;
  }

  private static INDArray labels(Random random, int size) {
    INDArray labels = Nd4j.zeros(DataType.FLOAT, size, CLASSES);
    for (int sample = 0; sample < size; sample++) {
      labels.putScalar(sample, random.nextInt(CLASSES), 1);
    }
    return labels;
  }
}
