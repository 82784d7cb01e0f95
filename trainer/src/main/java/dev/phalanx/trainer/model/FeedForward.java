package dev.phalanx.trainer.model;

import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.tensor.nn.Layer;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What the second half of a layer computes for each token by itself. */
interface FeedForward extends Layer {
  /**
   * [n, hidden] to [n, hidden], of those tokens that are here.
   *
   * @param x released where no operation needs it any more
   * @param residual [n, hidden], added to the result where it is given
   */
  Variable forward(Tape tape, Variable x, @Nullable Variable residual, ForwardPass pass);

  /** See {@link Transformer#takeExpertLoads}; empty where there are no experts. */
  long[] takeLoad();

  /** See {@link Transformer#hiddenMatrices}. */
  List<Long> matrices(Parameter parameter);
}
