package dev.phalanx.deeplearning4j;

import dev.phalanx.tensor.Shape;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.api.OptimizationAlgorithm;
import org.deeplearning4j.nn.api.Trainable;
import org.deeplearning4j.nn.api.TrainingConfig;
import org.deeplearning4j.nn.api.layers.IOutputLayer;
import org.deeplearning4j.nn.conf.BackpropType;
import org.deeplearning4j.nn.conf.ComputationGraphConfiguration;
import org.deeplearning4j.nn.conf.GradientNormalization;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.graph.LayerVertex;
import org.deeplearning4j.nn.conf.layers.BaseLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.Bidirectional;
import org.deeplearning4j.nn.conf.layers.wrapper.BaseWrapperLayer;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.graph.vertex.GraphVertex;
import org.deeplearning4j.nn.layers.FrozenLayer;
import org.deeplearning4j.nn.layers.FrozenLayerWithBackprop;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.updater.BaseMultiLayerUpdater;
import org.deeplearning4j.nn.updater.MultiLayerUpdater;
import org.deeplearning4j.nn.updater.UpdaterBlock;
import org.deeplearning4j.nn.updater.graph.ComputationGraphUpdater;
import org.deeplearning4j.optimize.api.TrainingListener;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.buffer.DataBuffer;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.executioner.OpExecutioner;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.MultiDataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.GradientUpdater;
import org.nd4j.linalg.learning.config.NoOp;
import org.nd4j.linalg.learning.regularization.Regularization;

/**
 * What {@link MultiLayerNetwork} and {@link ComputationGraph} have in common without a common type:
 * flat parameters and gradients, an updater, counters.
 */
abstract sealed class TrainedNetwork {
  /**
   * A parameter within the flat views.
   *
   * @param name {@code 0_W}, or {@code layer_W} in a graph
   * @param shape row-major: that of a weight matrix which Deeplearning4j keeps column by column is
   *     turned round
   * @param isSum whether its gradient is a sum over samples; else it is an update made of the
   *     batch, as that of batch normalisation's running mean is
   * @param isTrained whether a rule is applied to its gradient; else the gradient itself is taken
   *     away, as from running means and from frozen layers, where it is zero
   */
  record Variable(String name, long offset, Shape shape, boolean isSum, boolean isTrained) {
    long count() {
      return shape.elementCount();
    }
  }

  /**
   * @throws IllegalArgumentException where it cannot be trained on several ranks
   */
  static TrainedNetwork of(Model network) {
    TrainedNetwork trained = initialized(network);
    OptimizationAlgorithm algorithm = network.conf().getOptimizationAlgo();
    if (algorithm != OptimizationAlgorithm.STOCHASTIC_GRADIENT_DESCENT) {
      throw new IllegalArgumentException(
          "The network is optimised by "
              + algorithm
              + ", which searches along a line by scores of a rank's own share. Configure"
              + " optimizationAlgo(STOCHASTIC_GRADIENT_DESCENT), with any updater.");
    }
    var backend = Nd4j.getExecutioner().type();
    if (backend != OpExecutioner.ExecutionerType.NATIVE_CPU) {
      throw new IllegalArgumentException(
          "ND4J runs on its backend "
              + backend
              + ", and ranks add up gradients in the host's memory, of whose copies that backend"
              + " is not told. Put nd4j-native on the class path in its place; GPUs are for the"
              + " transformers of a plan, with engine: torch.");
    }
    return trained;
  }

  private static TrainedNetwork initialized(Model network) {
    if (network instanceof MultiLayerNetwork layers) {
      layers.init();
      return new Layers(layers);
    }
    if (network instanceof ComputationGraph graph) {
      graph.init();
      return new Graph(graph);
    }
    throw new IllegalArgumentException(
        "A "
            + network.getClass().getName()
            + " cannot be trained on several ranks: it is neither a MultiLayerNetwork nor a"
            + " ComputationGraph.");
  }

  /** The network itself. */
  abstract Model model();

  /** The updater that it trains with, made where there is none yet. */
  abstract BaseMultiLayerUpdater<?> updater();

  /**
   * Trains with an updater that asks a reducer before it updates.
   *
   * @param update what updates in the place of the network's own rules; null: they do
   */
  abstract void reduceWith(GradientReducer reducer, @Nullable FlatUpdate update);

  /** Trains with an updater of its own again, which goes on from the same state. */
  abstract void updateAlone();

  abstract List<Layer> layers();

  /** The flat view of gradients, made where there is none yet. */
  abstract INDArray gradients();

  /** Puts other memory under the flat view of gradients. */
  abstract void moveGradients(DataBuffer memory);

  /** Whether {@link #moveGradients} reaches every layer. */
  abstract boolean canMoveGradients();

  /** One iteration, or several with truncated backpropagation through time. */
  abstract void fit(MultiDataSet batch);

  /** A network of its own memory and without listeners, whose parameters have the same values. */
  abstract TrainedNetwork copy();

  abstract String configuration();

  /** The kinds of rules that update the layers of a configuration in JSON: {@code Adam}. */
  abstract List<String> rules(String configuration);

  abstract void setScore(double score);

  abstract double regularizationScore();

  /** Whether its last layer has a loss. */
  abstract boolean hasLoss();

  /** How gradients go back through time series. */
  abstract BackpropType backpropagation();

  /**
   * What the network makes of features, as it is used and not trained.
   *
   * @return [n, outputs]
   * @throws IllegalArgumentException of a graph that has not one input and one output
   */
  abstract INDArray output(INDArray features);

  /** The score of samples as the network is used, with regularisation. */
  abstract double score(DataSet samples);

  /**
   * What is a loss in a score of so many samples: the mean of theirs, without what l1 and l2 add.
   */
  final double loss(double score, int samples) {
    double loss = score - regularizationScore();
    return isAveraged() ? loss : loss / samples;
  }

  /** Of the first parameters whose rule has one; 0 where none has. */
  final double learningRate() {
    for (UpdaterBlock block : updater().getUpdaterBlocks()) {
      GradientUpdater<?> rule = block.getGradientUpdater();
      if (rule != null && rule.getConfig().hasLearningRate()) {
        return rule.getConfig().getLearningRate(iterations(), epochs());
      }
    }
    return 0;
  }

  /** The type of its parameters as a plan names it. */
  final String precision() {
    return switch (model().params().dataType()) {
      case FLOAT -> "fp32";
      case DOUBLE -> "fp64";
      case HALF -> "fp16";
      case BFLOAT16 -> "bf16";
      default -> model().params().dataType().name();
    };
  }

  abstract Collection<TrainingListener> listeners();

  abstract void setListeners(Collection<TrainingListener> listeners);

  abstract int iterations();

  abstract int epochs();

  abstract void setProgress(int iterations, int epochs);

  /**
   * How often a batch updates the parameters: once, or once for each part of its time series where
   * backpropagation through time is truncated; 0 where Deeplearning4j cannot cut the series, of
   * which it warns.
   */
  abstract long updates(MultiDataSet batch);

  private static long parts(long timeSteps, long ofPart) {
    return (timeSteps + ofPart - 1) / ofPart;
  }

  /** A layer as names of parameters call it. */
  abstract String nameOf(Trainable layer);

  /** In the order of the flat views. */
  final List<Variable> variables() {
    List<Variable> variables = new ArrayList<>();
    for (UpdaterBlock block : updater().getUpdaterBlocks()) {
      for (UpdaterBlock.ParamState state : block.getLayersAndVariablesInBlock()) {
        Trainable layer = state.getLayer();
        variables.add(
            new Variable(
                nameOf(layer) + "_" + state.getParamName(),
                state.getParamOffsetStart(),
                shape(Objects.requireNonNull(layer.paramTable(false).get(state.getParamName()))),
                layer.updaterDivideByMinibatch(state.getParamName()),
                !isFrozen(state)));
      }
    }
    return variables;
  }

  /** Of a layer that lets gradients through, the configuration is what it would be without that. */
  private static boolean isFrozen(UpdaterBlock.ParamState state) {
    return state.getLayer() instanceof FrozenLayerWithBackprop
        || state.getLayer().getConfig().getUpdaterByParam(state.getParamName()) instanceof NoOp;
  }

  /**
   * @throws IllegalArgumentException where the configuration asks for what the network's own
   *     updater does and our optimizers do otherwise
   */
  final void requirePlainGradients() {
    for (UpdaterBlock block : updater().getUpdaterBlocks()) {
      for (UpdaterBlock.ParamState state : block.getLayersAndVariablesInBlock()) {
        if (isFrozen(state)) {
          continue;
        }
        TrainingConfig configuration = state.getLayer().getConfig();
        String name = nameOf(state.getLayer()) + "_" + state.getParamName();
        GradientNormalization normalization = configuration.getGradientNormalization();
        if (normalization != null && normalization != GradientNormalization.None) {
          throw new IllegalArgumentException(
              "The gradients of "
                  + name
                  + " are normalised by "
                  + normalization
                  + ", which the network's own updater does. Leave it out of the configuration, or"
                  + " train with that updater.");
        }
        List<Regularization> rules = configuration.getRegularizationByParam(state.getParamName());
        if (rules != null && !rules.isEmpty()) {
          throw new IllegalArgumentException(
              "Parameter "
                  + name
                  + " is regularised by "
                  + rules
                  + ", which the network's own updater does. Use the optimizer's weight decay and"
                  + " leave it out of the configuration, or train with that updater.");
        }
      }
    }
  }

  private static Shape shape(INDArray array) {
    long[] sizes = array.shape().clone(); // the array would change with its own
    if (array.ordering() == 'f') {
      for (int i = 0; i < sizes.length / 2; i++) {
        long size = sizes[i];
        sizes[i] = sizes[sizes.length - 1 - i];
        sizes[sizes.length - 1 - i] = size;
      }
    }
    return Shape.of(sizes);
  }

  /** Whether gradients are divided by the number of samples. */
  final boolean isAveraged() {
    return model().conf().isMiniBatch();
  }

  private static String rule(org.deeplearning4j.nn.conf.layers.Layer layer) {
    if (layer instanceof BaseWrapperLayer wrapper) {
      return rule(wrapper.getUnderlying());
    }
    if (layer instanceof Bidirectional both) {
      return rule(both.getFwd());
    }
    if (layer instanceof org.deeplearning4j.nn.conf.layers.misc.FrozenLayer frozen) {
      return rule(frozen.getLayer());
    }
    return layer instanceof BaseLayer base && base.getIUpdater() != null
        ? base.getIUpdater().getClass().getSimpleName()
        : "none";
  }

  private static final class Layers extends TrainedNetwork {
    private final MultiLayerNetwork network;

    Layers(MultiLayerNetwork network) {
      this.network = network;
    }

    @Override
    Model model() {
      return network;
    }

    @Override
    BaseMultiLayerUpdater<?> updater() {
      return (BaseMultiLayerUpdater<?>) network.getUpdater();
    }

    @Override
    void reduceWith(GradientReducer reducer, @Nullable FlatUpdate update) {
      network.setUpdater(
          new ReducingUpdaters.OfLayers(network, updater().getStateViewArray(), reducer, update));
    }

    @Override
    void updateAlone() {
      network.setUpdater(new MultiLayerUpdater(network, updater().getStateViewArray()));
    }

    @Override
    List<Layer> layers() {
      return List.of(network.getLayers());
    }

    @Override
    INDArray gradients() {
      if (network.getFlattenedGradients() == null) {
        network.initGradientsView();
      }
      return network.getFlattenedGradients();
    }

    @Override
    void moveGradients(DataBuffer memory) {
      gradients().setData(memory);
      network.setBackpropGradientsViewArray(gradients());
    }

    @Override
    boolean canMoveGradients() {
      return true;
    }

    /** Not {@code fit(MultiDataSet)}, which forgets labels' masks where features have none. */
    @Override
    void fit(MultiDataSet batch) {
      network.fit(
          one(batch.getFeatures(), "features"),
          one(batch.getLabels(), "labels"),
          first(batch.getFeaturesMaskArrays()),
          first(batch.getLabelsMaskArrays()));
    }

    private static INDArray one(INDArray[] arrays, String what) {
      if (arrays.length != 1) {
        throw new IllegalArgumentException(
            "A MultiLayerNetwork takes one array of " + what + ", not " + arrays.length);
      }
      return arrays[0];
    }

    @SuppressWarnings("NullAway") // Deeplearning4j takes null for no mask
    private static INDArray first(INDArray[] masks) {
      return masks == null ? null : masks[0];
    }

    @Override
    TrainedNetwork copy() {
      return new Layers(network.clone());
    }

    @Override
    String configuration() {
      return network.getLayerWiseConfigurations().toJson();
    }

    @Override
    List<String> rules(String configuration) {
      return MultiLayerConfiguration.fromJson(configuration).getConfs().stream()
          .map(layer -> rule(layer.getLayer()))
          .toList();
    }

    @Override
    void setScore(double score) {
      network.setScore(score);
    }

    @Override
    double regularizationScore() {
      return network.calcRegularizationScore(true);
    }

    @Override
    boolean hasLoss() {
      return network.getOutputLayer() instanceof IOutputLayer;
    }

    @Override
    BackpropType backpropagation() {
      return network.getLayerWiseConfigurations().getBackpropType();
    }

    @Override
    INDArray output(INDArray features) {
      return network.output(features, false);
    }

    @Override
    double score(DataSet samples) {
      return network.score(samples, false);
    }

    @Override
    Collection<TrainingListener> listeners() {
      return List.copyOf(network.getListeners());
    }

    @Override
    void setListeners(Collection<TrainingListener> listeners) {
      network.setListeners(listeners);
    }

    @Override
    int iterations() {
      return network.getIterationCount();
    }

    @Override
    int epochs() {
      return network.getEpochCount();
    }

    @Override
    void setProgress(int iterations, int epochs) {
      network.setIterationCount(iterations);
      network.setEpochCount(epochs);
    }

    /** Features and labels are both time series, of one length. */
    @Override
    long updates(MultiDataSet batch) {
      var configuration = network.getLayerWiseConfigurations();
      if (configuration.getBackpropType() != BackpropType.TruncatedBPTT) {
        return 1;
      }
      INDArray features = batch.getFeatures(0);
      INDArray labels = batch.getLabels(0);
      boolean canCut =
          features.rank() == 3 && labels.rank() == 3 && features.size(2) == labels.size(2);
      return canCut ? parts(features.size(2), configuration.getTbpttFwdLength()) : 0;
    }

    @Override
    String nameOf(Trainable layer) {
      return Integer.toString(((Layer) layer).getIndex());
    }
  }

  private static final class Graph extends TrainedNetwork {
    private final ComputationGraph network;

    Graph(ComputationGraph network) {
      this.network = network;
    }

    @Override
    Model model() {
      return network;
    }

    @Override
    BaseMultiLayerUpdater<?> updater() {
      return network.getUpdater();
    }

    @Override
    void reduceWith(GradientReducer reducer, @Nullable FlatUpdate update) {
      network.setUpdater(
          new ReducingUpdaters.OfGraph(network, updater().getStateViewArray(), reducer, update));
    }

    @Override
    void updateAlone() {
      network.setUpdater(new ComputationGraphUpdater(network, updater().getStateViewArray()));
    }

    @Override
    List<Layer> layers() {
      return List.of(network.getLayers());
    }

    @Override
    INDArray gradients() {
      if (network.getFlattenedGradients() == null) {
        network.initGradientsView();
      }
      return network.getFlattenedGradients();
    }

    @Override
    void moveGradients(DataBuffer memory) {
      gradients().setData(memory);
      network.setBackpropGradientsViewArray(gradients());
    }

    /** Vertices with parameters of their own keep the views that they were made with. */
    @Override
    boolean canMoveGradients() {
      for (GraphVertex vertex : network.getVertices()) {
        if (!vertex.hasLayer() && vertex.numParams() > 0) {
          return false;
        }
      }
      return true;
    }

    @Override
    void fit(MultiDataSet batch) {
      network.fit(batch);
    }

    /** Not {@code clone()}, whose graph has the listeners of this one in the same list. */
    @Override
    TrainedNetwork copy() {
      ComputationGraph copy = new ComputationGraph(network.getConfiguration().clone());
      copy.init(network.params(), true);
      for (GraphVertex vertex : network.getVertices()) {
        if (vertex.hasLayer() && vertex.getLayer() instanceof FrozenLayer) {
          copy.getVertex(vertex.getVertexName()).setLayerAsFrozen();
        }
      }
      INDArray state = updater().getStateViewArray();
      if (state != null) {
        copy.getUpdater().setStateViewArray(state.dup());
      }
      return new Graph(copy);
    }

    @Override
    String configuration() {
      return network.getConfiguration().toJson();
    }

    @Override
    List<String> rules(String configuration) {
      return ComputationGraphConfiguration.fromJson(configuration).getVertices().values().stream()
          .filter(LayerVertex.class::isInstance)
          .map(vertex -> rule(((LayerVertex) vertex).getLayerConf().getLayer()))
          .toList();
    }

    @Override
    void setScore(double score) {
      network.setScore(score);
    }

    @Override
    double regularizationScore() {
      return network.calcRegularizationScore(true);
    }

    @Override
    boolean hasLoss() {
      return network.getNumOutputArrays() > 0 && network.getOutputLayer(0) instanceof IOutputLayer;
    }

    @Override
    BackpropType backpropagation() {
      return network.getConfiguration().getBackpropType();
    }

    @Override
    INDArray output(INDArray features) {
      if (network.getNumInputArrays() != 1 || network.getNumOutputArrays() != 1) {
        throw new IllegalArgumentException(
            "it has "
                + network.getNumInputArrays()
                + " inputs and "
                + network.getNumOutputArrays()
                + " outputs, and samples have one of each");
      }
      return network.outputSingle(false, features);
    }

    @Override
    double score(DataSet samples) {
      return network.score(samples, false);
    }

    @Override
    Collection<TrainingListener> listeners() {
      return List.copyOf(network.getListeners());
    }

    @Override
    void setListeners(Collection<TrainingListener> listeners) {
      network.setListeners(listeners);
    }

    @Override
    int iterations() {
      return network.getIterationCount();
    }

    @Override
    int epochs() {
      return network.getEpochCount();
    }

    @Override
    void setProgress(int iterations, int epochs) {
      network.getConfiguration().setIterationCount(iterations);
      network.getConfiguration().setEpochCount(epochs);
    }

    /** What is no time series stays whole; those that are have one length. */
    @Override
    long updates(MultiDataSet batch) {
      var configuration = network.getConfiguration();
      if (configuration.getBackpropType() != BackpropType.TruncatedBPTT) {
        return 1;
      }
      long[] lengths =
          Stream.of(batch.getFeatures(), batch.getLabels())
              .flatMap(Stream::of)
              .filter(array -> array.rank() == 3)
              .mapToLong(array -> array.size(2))
              .distinct()
              .toArray();
      return switch (lengths.length) {
        case 0 -> 1;
        case 1 -> parts(lengths[0], configuration.getTbpttFwdLength());
        default -> 0;
      };
    }

    @Override
    String nameOf(Trainable layer) {
      return layer.getConfig().getLayerName();
    }
  }
}
