package dev.phalanx.deeplearning4j;

import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.List;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.layers.FrozenLayer;
import org.deeplearning4j.nn.layers.FrozenLayerWithBackprop;
import org.deeplearning4j.nn.layers.LayerHelper;
import org.deeplearning4j.nn.layers.convolution.ConvolutionLayer;
import org.deeplearning4j.nn.layers.normalization.BatchNormalization;
import org.deeplearning4j.nn.layers.wrapper.BaseWrapperLayer;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.shape.Shape;

/**
 * What a network's layers ask to compute for them while it is trained here. Deeplearning4j has a
 * place in such layers for a library's kernels, and no way to fill it from outside: its fields are
 * set by reflection.
 */
final class LayerHelpers implements AutoCloseable {
  private final ContiguousConvolution.Columns columns = new ContiguousConvolution.Columns();
  private final List<WholeBatchNormalization> normalizations = new ArrayList<>();
  private final List<Runnable> undoing = new ArrayList<>();

  /**
   * @param isAlone whether the batch is this rank's, so that there is nobody to ask about it
   */
  LayerHelpers(TrainedNetwork network, GradientReducer ranks, boolean isAlone) {
    Field ofConvolution = field(ConvolutionLayer.class);
    Field ofNormalization = field(BatchNormalization.class);
    for (Layer each : network.layers()) {
      Layer layer = unwrapped(each);
      if (layer instanceof ConvolutionLayer convolution
          && convolution.getHelper() == null
          && ContiguousConvolution.isFor(convolution)) {
        set(ofConvolution, layer, null, new ContiguousConvolution(convolution, columns, ranks));
      } else if (layer instanceof BatchNormalization normalization && !isAlone) {
        var helper = new WholeBatchNormalization(normalization, ranks);
        normalizations.add(helper);
        set(ofNormalization, layer, normalization.getHelper(), helper);
      }
    }
  }

  /** Frozen layers do not know that they are in training, and stay wrapped. */
  private static Layer unwrapped(Layer layer) {
    Layer found = layer;
    while (found instanceof BaseWrapperLayer wrapper
        && !(found instanceof FrozenLayer)
        && !(found instanceof FrozenLayerWithBackprop)) {
      found = wrapper.getUnderlying();
    }
    return found;
  }

  private void set(Field field, Layer layer, @Nullable LayerHelper before, LayerHelper helper) {
    undoing.add(() -> set(field, layer, before));
    set(field, layer, helper);
  }

  private static void set(Field field, Layer layer, @Nullable LayerHelper helper) {
    try {
      field.set(layer, helper);
    } catch (IllegalAccessException e) {
      throw new IllegalStateException(e); // it has been made accessible
    }
  }

  private static Field field(Class<?> layer) {
    try {
      Field field = layer.getDeclaredField("helper");
      field.setAccessible(true);
      return field;
    } catch (NoSuchFieldException | RuntimeException e) {
      throw new IllegalStateException(
          "The layers of this Deeplearning4j are not those that Phalanx knows ("
              + e
              + "). Use the version that Phalanx was built with.",
          e);
    }
  }

  /** Numbers one after the other, as kernels that broadcast or reshape want them. */
  static INDArray contiguous(INDArray array) {
    return Shape.hasDefaultStridesForShape(array) ? array : array.dup('c');
  }

  /** What layers work with beside their workspaces. */
  long byteSize() {
    return columns.byteSize();
  }

  /** Layers compute as before. */
  @Override
  public void close() {
    undoing.forEach(Runnable::run);
    undoing.clear();
    normalizations.forEach(WholeBatchNormalization::close);
    columns.close();
  }
}
