package dev.phalanx.deeplearning4j;

import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.updater.MultiLayerUpdater;
import org.deeplearning4j.nn.updater.graph.ComputationGraphUpdater;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * Deeplearning4j's own updaters, to which gradients come from all ranks. They are asked between the
 * backward pass and the step, so all that comes after, the division by the batch, normalisation of
 * gradients, regularisation and the rule, sees what one machine with the whole batch would see. One
 * of our optimizers may update in the place of all that.
 */
final class ReducingUpdaters {
  private ReducingUpdaters() {}

  /** Of a {@link MultiLayerNetwork}. */
  static final class OfLayers extends MultiLayerUpdater {
    private final GradientReducer reducer;
    private final @Nullable FlatUpdate update;

    OfLayers(
        MultiLayerNetwork network,
        @Nullable INDArray state,
        GradientReducer reducer,
        @Nullable FlatUpdate update) {
      super(network, state);
      this.reducer = reducer;
      this.update = update;
    }

    @Override
    public synchronized void update(
        Gradient gradient, int iteration, int epoch, int ownSamples, LayerWorkspaceMgr workspaces) {
      int samples = reducer.reduce();
      if (update == null) {
        reducer.showGradients(samples);
        super.update(gradient, iteration, epoch, samples, workspaces);
      } else {
        update.step(iteration, samples, reducer.watch());
      }
    }
  }

  /** Of a {@link ComputationGraph}. */
  static final class OfGraph extends ComputationGraphUpdater {
    private final GradientReducer reducer;
    private final @Nullable FlatUpdate update;

    OfGraph(
        ComputationGraph network,
        @Nullable INDArray state,
        GradientReducer reducer,
        @Nullable FlatUpdate update) {
      super(network, state);
      this.reducer = reducer;
      this.update = update;
    }

    @Override
    public synchronized void update(
        Gradient gradient, int iteration, int epoch, int ownSamples, LayerWorkspaceMgr workspaces) {
      int samples = reducer.reduce();
      if (update == null) {
        reducer.showGradients(samples);
        super.update(gradient, iteration, epoch, samples, workspaces);
      } else {
        update.step(iteration, samples, reducer.watch());
      }
    }
  }
}
