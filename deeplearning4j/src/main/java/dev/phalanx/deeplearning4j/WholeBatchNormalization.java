package dev.phalanx.deeplearning4j;

import dev.phalanx.tensor.Tensor;
import java.nio.DoubleBuffer;
import java.util.Map;
import java.util.stream.IntStream;
import org.deeplearning4j.nn.conf.CNN2DFormat;
import org.deeplearning4j.nn.gradient.DefaultGradient;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.normalization.BatchNormalization;
import org.deeplearning4j.nn.layers.normalization.BatchNormalizationHelper;
import org.deeplearning4j.nn.params.BatchNormalizationParamInitializer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.jspecify.annotations.Nullable;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.BroadcastOp;
import org.nd4j.linalg.api.ops.DynamicCustomOp;
import org.nd4j.linalg.api.ops.impl.broadcast.BroadcastMulOp;
import org.nd4j.linalg.api.ops.impl.broadcast.BroadcastSubOp;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Normalises a layer's batch with the statistics of all ranks' shares, so that its outputs,
 * gradients and running statistics are those of the whole batch on one machine (Ioffe and Szegedy,
 * 2015; between devices first by Peng et al., 2018, "MegDet", 3.2). Both passes of a layer cost one
 * small all-reduce:
 *
 * <pre>
 *   forward    count, sums and sums of squares of this share's channels -> those of the batch
 *   backward   sums of dy and of dy * normalised x                      -> those of the batch
 * </pre>
 *
 * <p>It is what Deeplearning4j asks in the place of a library's kernel. Outside of a batch of all
 * ranks, and where the ranks fail, it declines, and the layer goes on by itself; {@link
 * GradientReducer#reduce} then tells why.
 *
 * <p>Used by the thread that trains.
 */
final class WholeBatchNormalization implements BatchNormalizationHelper {
  private final BatchNormalization layer;
  private final @Nullable BatchNormalizationHelper ownHelper; // which the layer had before
  private final GradientReducer ranks;
  private @Nullable Tensor sums; // [2 channels + 1] FLOAT64
  private @Nullable INDArray mean; // [channels], of the last forward pass
  private @Nullable INDArray variance; // likewise
  private long batchCount; // numbers of a channel in the batch that is under way; 0: there is none

  WholeBatchNormalization(BatchNormalization layer, GradientReducer ranks) {
    this.layer = layer;
    this.ownHelper = (BatchNormalizationHelper) layer.getHelper();
    this.ranks = ranks;
  }

  /** Frees what is its own. */
  void close() {
    if (sums != null) {
      sums.close();
    }
    if (mean != null) {
      mean().close();
      variance().close();
    }
  }

  @Override
  public boolean checkSupported() {
    return true;
  }

  @Override
  public boolean checkSupported(double epsilon, boolean isLocked) {
    return true;
  }

  @Override
  public Map<String, Long> helperMemoryUse() {
    return Map.of();
  }

  /**
   * @param x [n, channels, ...], or [n, ..., channels]
   * @return nothing where the layer is to normalise by itself
   */
  @Override
  @SuppressWarnings("NullAway") // Deeplearning4j takes null for nothing
  public @Nullable INDArray preOutput(
      INDArray x,
      boolean training,
      long[] shape,
      @Nullable INDArray gamma,
      @Nullable INDArray beta,
      INDArray runningMean,
      INDArray runningVariance,
      double decay,
      double epsilon,
      CNN2DFormat format,
      LayerWorkspaceMgr workspaces) {
    if (!training) {
      return ownHelper == null
          ? null
          : ownHelper.preOutput(
              x,
              false,
              shape,
              gamma,
              beta,
              runningMean,
              runningVariance,
              decay,
              epsilon,
              format,
              workspaces);
    }
    batchCount = 0;
    return ranks.attempt(
        () -> normalized(x, gamma, beta, runningMean, epsilon, channelAxis(x, format), workspaces));
  }

  /** Nothing where the ranks do not answer. */
  private @Nullable INDArray normalized(
      INDArray x,
      @Nullable INDArray gamma,
      @Nullable INDArray beta,
      INDArray runningMean,
      double epsilon,
      int axis,
      LayerWorkspaceMgr workspaces) {
    INDArray input = LayerHelpers.contiguous(x);
    if (!ranks.isUnderWay() || !findStatistics(input, axis, runningMean)) {
      return null;
    }
    INDArray output =
        workspaces.createUninitialized(ArrayType.ACTIVATIONS, x.dataType(), input.shape(), 'c');
    var normalize =
        DynamicCustomOp.builder("batchnorm").addFloatingPointArguments(epsilon).addOutputs(output);
    if (layer.layerConf().isLockGammaBeta()) {
      normalize.addInputs(input, mean(), variance()).addIntegerArguments(0, 0, axis);
    } else {
      normalize
          .addInputs(input, mean(), variance(), vector(gamma), vector(beta))
          .addIntegerArguments(1, 1, axis);
    }
    Nd4j.exec(normalize.build());
    scaleByConstants(output);
    return output;
  }

  /** As Deeplearning4j does it: constants are left out where one of them is the usual one. */
  private void scaleByConstants(INDArray output) {
    double gamma = layer.layerConf().getGamma();
    double beta = layer.layerConf().getBeta();
    if (layer.layerConf().isLockGammaBeta() && gamma != 1 && beta != 0) {
      output.muli(gamma).addi(beta);
    }
  }

  /**
   * Leaves the mean and the variance of the whole batch's channels. Ranks add up squares of
   * differences from a place that they have in common, the running mean: those of the numbers
   * themselves would swallow a variance that is small beside the mean.
   *
   * @return whether the ranks have answered
   */
  private boolean findStatistics(INDArray x, int axis, INDArray runningMean) {
    int channels = Math.toIntExact(x.size(axis));
    double[] place = vector(runningMean).toDoubleVector();
    DoubleBuffer numbers = numbers(channels);
    if (ranks.hasSamples()) {
      int[] others = allBut(axis, x.rank());
      long count = x.length() / channels;
      double[] ownMean = x.mean(others).toDoubleVector();
      double[] ownVariance = x.var(false, others).toDoubleVector();
      for (int channel = 0; channel < channels; channel++) {
        double difference = ownMean[channel] - place[channel];
        numbers.put(channel, count * difference);
        numbers.put(channels + channel, count * (ownVariance[channel] + difference * difference));
      }
      numbers.put(2 * channels, (double) count);
    }
    if (!ranks.sum(sums())) {
      return false;
    }
    long count = (long) numbers.get(2 * channels);
    makeRoom(channels, x.dataType());
    for (int channel = 0; channel < channels; channel++) {
      double difference = numbers.get(channel) / count;
      double square = numbers.get(channels + channel) / count;
      mean().putScalar(channel, place[channel] + difference);
      variance().putScalar(channel, Math.max(0, square - difference * difference));
    }
    batchCount = count;
    return true;
  }

  /**
   * {@code dx = gamma / deviation (dy - mean(dy) - xhat mean(dy xhat))}, with means over the batch.
   *
   * @return nothing where the forward pass was the layer's own
   */
  @Override
  @SuppressWarnings("NullAway") // Deeplearning4j takes null for nothing
  public @Nullable Pair<Gradient, INDArray> backpropGradient(
      INDArray x,
      INDArray dy,
      long[] shape,
      INDArray gamma,
      @Nullable INDArray beta,
      INDArray gammaGradient,
      INDArray betaGradient,
      double epsilon,
      CNN2DFormat format,
      LayerWorkspaceMgr workspaces) {
    long count = batchCount;
    batchCount = 0;
    if (count == 0) {
      return null;
    }
    return ranks.attempt(
        () ->
            backward(
                x,
                dy,
                gamma,
                gammaGradient,
                betaGradient,
                epsilon,
                count,
                channelAxis(x, format),
                workspaces));
  }

  private @Nullable Pair<Gradient, INDArray> backward(
      INDArray x,
      INDArray dy,
      INDArray gamma,
      INDArray gammaGradient,
      INDArray betaGradient,
      double epsilon,
      long count,
      int axis,
      LayerWorkspaceMgr workspaces) {
    int channels = Math.toIntExact(x.size(axis));
    INDArray given = LayerHelpers.contiguous(dy);
    INDArray scale = inverseDeviation(epsilon);
    INDArray normalized = Nd4j.createUninitialized(x.dataType(), x.shape());
    broadcast(new BroadcastSubOp(LayerHelpers.contiguous(x), mean(), normalized, axis));
    broadcast(new BroadcastMulOp(normalized, scale, normalized, axis));

    int[] others = allBut(axis, x.rank());
    INDArray ownBeta = given.sum(others);
    INDArray ownGamma = given.mul(normalized).sum(others);
    DoubleBuffer numbers = numbers(channels);
    if (ranks.hasSamples()) {
      numbers.put(ownBeta.toDoubleVector()).put(ownGamma.toDoubleVector());
    }
    if (!ranks.sum(sums())) {
      return null;
    }
    INDArray ofGiven = ownBeta.like();
    INDArray ofProduct = ownGamma.like();
    for (int channel = 0; channel < channels; channel++) {
      ofGiven.putScalar(channel, numbers.get(channel) / count);
      ofProduct.putScalar(channel, numbers.get(channels + channel) / count);
    }
    INDArray dx =
        workspaces.createUninitialized(ArrayType.ACTIVATION_GRAD, x.dataType(), x.shape(), 'c');
    broadcast(new BroadcastMulOp(normalized, ofProduct, normalized, axis));
    given.subi(normalized, dx);
    broadcast(new BroadcastSubOp(dx, ofGiven, dx, axis));
    broadcast(new BroadcastMulOp(dx, scale.mul(vector(gamma)), dx, axis));

    Gradient gradient = new DefaultGradient();
    gradient.setGradientFor(
        BatchNormalizationParamInitializer.GAMMA,
        gammaGradient.assign(ownGamma.reshape(gammaGradient.shape())));
    gradient.setGradientFor(
        BatchNormalizationParamInitializer.BETA,
        betaGradient.assign(ownBeta.reshape(betaGradient.shape())));
    return new Pair<>(gradient, dx);
  }

  private static void broadcast(BroadcastOp operation) {
    Nd4j.getExecutioner().exec(operation);
  }

  private INDArray inverseDeviation(double epsilon) {
    INDArray inverse = variance().add(epsilon);
    for (long channel = 0; channel < inverse.length(); channel++) {
      inverse.putScalar(channel, 1 / Math.sqrt(inverse.getDouble(channel)));
    }
    return inverse;
  }

  /** Of the last forward pass, from which the layer's running mean follows. */
  @Override
  public INDArray getMeanCache(DataType type) {
    return mean().dup().castTo(type);
  }

  /** Likewise the variance, without what is added to it. */
  @Override
  public INDArray getVarCache(DataType type) {
    return variance().dup().castTo(type);
  }

  private INDArray mean() {
    return present(mean);
  }

  private INDArray variance() {
    return present(variance);
  }

  private Tensor sums() {
    return present(sums);
  }

  private static <T> T present(@Nullable T statistic) {
    if (statistic == null) {
      throw new IllegalStateException("A layer's gamma, beta or statistics are missing");
    }
    return statistic;
  }

  /** Zeros, for what ranks are to add up. */
  private DoubleBuffer numbers(int channels) {
    if (sums == null) {
      sums = NativeMemory.numbers(2 * channels + 1);
    }
    DoubleBuffer numbers = Numbers.elements(sums);
    for (int i = 0; i < numbers.capacity(); i++) {
      numbers.put(i, 0);
    }
    return numbers;
  }

  /** For numbers that outlive the workspace of a pass. */
  private void makeRoom(int channels, DataType type) {
    if (mean == null) {
      try (MemoryWorkspace none = Nd4j.getMemoryManager().scopeOutOfWorkspaces()) {
        mean = Nd4j.create(type, channels);
        variance = Nd4j.create(type, channels);
      }
    }
  }

  private static int channelAxis(INDArray x, CNN2DFormat format) {
    return format == CNN2DFormat.NHWC ? x.rank() - 1 : 1;
  }

  private static int[] allBut(int axis, int rank) {
    return IntStream.range(0, rank).filter(each -> each != axis).toArray();
  }

  private static INDArray vector(@Nullable INDArray row) {
    INDArray given = present(row);
    return given.reshape(given.length());
  }
}
