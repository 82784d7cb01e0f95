package dev.phalanx.deeplearning4j;

import java.util.Map;
import org.deeplearning4j.nn.conf.CNN2DFormat;
import org.deeplearning4j.nn.conf.ConvolutionMode;
import org.deeplearning4j.nn.conf.layers.ConvolutionLayer.AlgoMode;
import org.deeplearning4j.nn.conf.layers.ConvolutionLayer.BwdDataAlgo;
import org.deeplearning4j.nn.conf.layers.ConvolutionLayer.BwdFilterAlgo;
import org.deeplearning4j.nn.conf.layers.ConvolutionLayer.FwdAlgo;
import org.deeplearning4j.nn.gradient.DefaultGradient;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.convolution.ConvolutionHelper;
import org.deeplearning4j.nn.layers.convolution.ConvolutionLayer;
import org.deeplearning4j.nn.params.ConvolutionParamInitializer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.deeplearning4j.util.ConvolutionUtils;
import org.jspecify.annotations.Nullable;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.activations.IActivation;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.DynamicCustomOp;
import org.nd4j.linalg.api.ops.impl.broadcast.BroadcastAddOp;
import org.nd4j.linalg.api.shape.Shape;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * A layer's convolution by the same products of matrices as Deeplearning4j's own (Chellapilla et
 * al., 2006), several times as fast: it asks ND4J for columns that lie one after the other, where
 * the layer asks for them in an order for which ND4J has a slow way alone.
 *
 * <pre>
 *   x [n, in, h, w] -> columns [n, in kh kw, oh ow];   y = W columns + b
 *   dW = sum over samples of dy columns^T;   dx from W^T dy, column by column
 * </pre>
 *
 * <p>Used by the thread that trains.
 */
final class ContiguousConvolution implements ConvolutionHelper {
  /**
   * Numbers of the columns, and of the weights' gradients, of samples that are computed at once: 16
   * MiB of floats. With fewer, LeNet's columns would be made anew for the backward pass; layers
   * whose columns are more take no more memory for it.
   */
  private static final long MOST_AT_ONCE = 1 << 22;

  private final ConvolutionLayer layer;
  private final Columns memory;
  private final GradientReducer ranks;

  /** Memory that grows as it is asked for. */
  private static final class Scratch {
    private @Nullable INDArray memory;

    /**
     * @param like of this type
     */
    INDArray of(INDArray like, long... shape) {
      INDArray present = memory;
      long count = Shape.lengthOf(shape);
      if (present == null || present.length() < count || present.dataType() != like.dataType()) {
        close();
        try (var none = Nd4j.getMemoryManager().scopeOutOfWorkspaces()) {
          present = Nd4j.createUninitialized(like.dataType(), count);
        }
        memory = present;
      }
      return present.get(NDArrayIndex.interval(0, count)).reshape('c', shape);
    }

    long byteSize() {
      return memory == null ? 0 : memory.length() * memory.dataType().width();
    }

    void close() {
      INDArray present = memory;
      memory = null;
      if (present != null) {
        present.close();
      }
    }
  }

  /** Memory that a rank's layers share, none of which is a workspace's: those grow with batches. */
  static final class Columns {
    private final Scratch columns = new Scratch();
    private final Scratch products = new Scratch(); // of the weights' gradients of samples
    private final Scratch sums = new Scratch(); // of these
    private @Nullable INDArray input; // whose columns are there, all of them; null: nothing of use
    private @Nullable ContiguousConvolution owner; // by whose kernel they are made

    void keep(ContiguousConvolution layer, INDArray x) {
      owner = layer;
      input = x;
    }

    /** Whether the columns of this very array are there; not again, for they are overwritten. */
    boolean give(ContiguousConvolution layer, INDArray x) {
      boolean isThere = owner == layer && input == x;
      owner = null;
      input = null;
      return isThere;
    }

    long byteSize() {
      return columns.byteSize() + products.byteSize() + sums.byteSize();
    }

    void close() {
      owner = null;
      input = null;
      columns.close();
      products.close();
      sums.close();
    }
  }

  /** How a layer's kernel goes over its input. */
  private record Kernel(
      int[] size, int[] strides, int[] padding, int[] dilation, ConvolutionMode mode) {
    /**
     * @return of the columns of {@code x}: [n, in, kh, kw, oh, ow]
     */
    long[] columns(INDArray x) {
      int[] out =
          ConvolutionUtils.getOutputSize(
              x, size, strides, ofLayer(), mode, dilation, CNN2DFormat.NCHW);
      return new long[] {x.size(0), x.size(1), size[0], size[1], out[0], out[1]};
    }

    @SuppressWarnings("NullAway") // Deeplearning4j takes null for what follows from the mode
    private int @Nullable [] ofLayer() {
      return mode == ConvolutionMode.Same ? null : padding;
    }

    int isSame() {
      return mode == ConvolutionMode.Same ? 1 : 0;
    }
  }

  ContiguousConvolution(ConvolutionLayer layer, Columns memory, GradientReducer ranks) {
    this.layer = layer;
    this.memory = memory;
    this.ranks = ranks;
  }

  /** Whether it can do what the layer does; kinds that are derived from such layers differ. */
  static boolean isFor(ConvolutionLayer layer) {
    return layer.getClass() == ConvolutionLayer.class
        && layer.layerConf().getCnn2dDataFormat() == CNN2DFormat.NCHW;
  }

  @Override
  public boolean checkSupported() {
    return true;
  }

  @Override
  public Map<String, Long> helperMemoryUse() {
    return Map.of();
  }

  @Override
  @SuppressWarnings("NullAway") // Deeplearning4j takes null for nothing
  public @Nullable INDArray preOutput(
      INDArray x,
      INDArray weights,
      INDArray bias,
      int[] kernel,
      int[] strides,
      int[] padding,
      AlgoMode algorithmMode,
      FwdAlgo algorithm,
      ConvolutionMode mode,
      int[] dilation,
      CNN2DFormat format,
      LayerWorkspaceMgr workspaces) {
    Kernel shape = new Kernel(kernel, strides, padding, dilation, mode);
    return ranks.attempt(() -> forward(x, weights, bias, shape, workspaces));
  }

  private INDArray forward(
      INDArray x, INDArray weights, INDArray bias, Kernel shape, LayerWorkspaceMgr workspaces) {
    INDArray input = LayerHelpers.contiguous(x);
    INDArray matrix = matrix(weights);
    long[] columns = shape.columns(x);
    INDArray y =
        workspaces.createUninitialized(
            ArrayType.ACTIVATIONS,
            x.dataType(),
            new long[] {x.size(0), weights.size(0), columns[4], columns[5]},
            'c');
    long atOnce = atOnce(columns, weights);
    for (long first = 0; first < x.size(0); first += atOnce) {
      INDArray some = samples(input, first, atOnce);
      INDArray rows = rows(columns(some, shape, false));
      memory.keep(this, some);
      multiply(
          forEachSample(matrix, rows.size(0)), false, rows, false, flat(samples(y, first, atOnce)));
    }
    if (layer.hasBias()) {
      Nd4j.getExecutioner().exec(new BroadcastAddOp(y, bias.reshape(bias.length()), y, 1));
    }
    return y;
  }

  /** Called just behind the forward pass of the same array, which Deeplearning4j does once more. */
  @Override
  @SuppressWarnings("NullAway") // Deeplearning4j takes null for nothing
  public @Nullable Pair<Gradient, INDArray> backpropGradient(
      INDArray x,
      INDArray weights,
      INDArray bias,
      INDArray delta,
      int[] kernel,
      int[] strides,
      int[] padding,
      INDArray biasGradient,
      INDArray weightGradient,
      IActivation activation,
      AlgoMode algorithmMode,
      BwdFilterAlgo filterAlgorithm,
      BwdDataAlgo dataAlgorithm,
      ConvolutionMode mode,
      int[] dilation,
      CNN2DFormat format,
      LayerWorkspaceMgr workspaces) {
    Kernel shape = new Kernel(kernel, strides, padding, dilation, mode);
    return ranks.attempt(
        () -> {
          INDArray dx = inputGradient(x, weights, delta, weightGradient, shape, workspaces);
          Gradient gradient = new DefaultGradient();
          if (layer.hasBias()) {
            biasGradient.assign(delta.sum(0, 2, 3).reshape(biasGradient.shape()));
            gradient.setGradientFor(ConvolutionParamInitializer.BIAS_KEY, biasGradient);
          }
          gradient.setGradientFor(ConvolutionParamInitializer.WEIGHT_KEY, weightGradient, 'c');
          layer.clearNoiseWeightParams(); // as behind the layer's own
          return new Pair<>(gradient, dx);
        });
  }

  /** Sets the gradient of the weights, too. */
  private INDArray inputGradient(
      INDArray x,
      INDArray weights,
      INDArray delta,
      INDArray weightGradient,
      Kernel shape,
      LayerWorkspaceMgr workspaces) {
    INDArray input = LayerHelpers.contiguous(x);
    INDArray dy = LayerHelpers.contiguous(delta);
    INDArray matrix = matrix(weights);
    INDArray sum = weightGradient.reshape('c', matrix.shape());
    INDArray dx =
        workspaces.createUninitialized(ArrayType.ACTIVATION_GRAD, x.dataType(), x.shape(), 'c');
    long atOnce = atOnce(shape.columns(x), weights);
    sum.assign(0);
    for (long first = 0; first < x.size(0); first += atOnce) {
      INDArray some = samples(input, first, atOnce);
      INDArray columns = columns(some, shape, memory.give(this, some));
      INDArray rows = rows(columns);
      INDArray given = flat(samples(dy, first, atOnce));
      INDArray products = memory.products.of(dy, rows.size(0), sum.size(0), sum.size(1));
      multiply(given, false, rows, true, products);
      sum.addi(products.sum(memory.sums.of(dy, sum.shape()), 0));
      multiply(forEachSample(matrix, rows.size(0)), true, given, false, rows); // in their place
      addColumns(columns, samples(dx, first, atOnce), shape);
    }
    return dx;
  }

  private static long atOnce(long[] columns, INDArray weights) {
    long ofSample = Math.max(Shape.lengthOf(columns) / columns[0], weights.length());
    return Math.max(1, Math.min(columns[0], MOST_AT_ONCE / ofSample));
  }

  /** A view of some samples, or of those that are left. */
  private static INDArray samples(INDArray array, long first, long count) {
    long last = Math.min(array.size(0), first + count);
    return last - first == array.size(0)
        ? array
        : array.get(
            NDArrayIndex.interval(first, last),
            NDArrayIndex.all(),
            NDArrayIndex.all(),
            NDArrayIndex.all());
  }

  /**
   * @param isThere whether what is in memory is them
   * @return [n, in, kh, kw, oh, ow]
   */
  private INDArray columns(INDArray x, Kernel kernel, boolean isThere) {
    INDArray columns = memory.columns.of(x, kernel.columns(x));
    if (isThere) {
      return columns;
    }
    Nd4j.exec(
        DynamicCustomOp.builder("im2col")
            .addInputs(x)
            .addOutputs(columns)
            .addIntegerArguments(
                kernel.size[0],
                kernel.size[1],
                kernel.strides[0],
                kernel.strides[1],
                kernel.padding[0],
                kernel.padding[1],
                kernel.dilation[0],
                kernel.dilation[1],
                kernel.isSame())
            .build());
    return columns;
  }

  /** Sets {@code dx} to the sums of what the columns have of each place. */
  private static void addColumns(INDArray columns, INDArray dx, Kernel kernel) {
    Nd4j.exec(
        DynamicCustomOp.builder("col2im")
            .addInputs(columns)
            .addOutputs(dx)
            .addIntegerArguments(
                kernel.strides[0],
                kernel.strides[1],
                kernel.padding[0],
                kernel.padding[1],
                (int) dx.size(2),
                (int) dx.size(3),
                kernel.dilation[0],
                kernel.dilation[1],
                kernel.isSame())
            .build());
  }

  /** [n, in kh kw, oh ow] of columns. */
  private static INDArray rows(INDArray columns) {
    long places = columns.size(4) * columns.size(5);
    return columns.reshape(
        'c', columns.size(0), columns.length() / columns.size(0) / places, places);
  }

  /** [n, out, oh ow] of outputs. */
  private static INDArray flat(INDArray y) {
    return y.reshape('c', y.size(0), y.size(1), y.size(2) * y.size(3));
  }

  /** [out, in kh kw] of weights. */
  private static INDArray matrix(INDArray weights) {
    return LayerHelpers.contiguous(weights)
        .reshape('c', weights.size(0), weights.length() / weights.size(0));
  }

  /** The same matrix for each sample, without a copy. */
  private static INDArray forEachSample(INDArray matrix, long samples) {
    return Nd4j.create(
        matrix.data(),
        new long[] {samples, matrix.size(0), matrix.size(1)},
        new long[] {0, matrix.size(1), 1},
        matrix.offset(),
        'c');
  }

  /** Products of each sample's matrices. */
  private static void multiply(
      INDArray a, boolean transposeA, INDArray b, boolean transposeB, INDArray out) {
    Nd4j.exec(
        DynamicCustomOp.builder("matmul")
            .addInputs(a, b)
            .addOutputs(out)
            .addIntegerArguments(transposeA ? 1 : 0, transposeB ? 1 : 0, 0)
            .build());
  }

  /** The layer's own. */
  @Override
  @SuppressWarnings("NullAway") // Deeplearning4j takes null for that
  public @Nullable INDArray activate(INDArray z, IActivation activation, boolean training) {
    return null;
  }
}
