package dev.phalanx.sharding;

import dev.phalanx.tensor.autograd.Parameter;
import java.util.List;

/** Which parameters are matrices of hidden layers, as {@link MuonOptimizer} asks. */
@FunctionalInterface
public interface StackedMatrices {
  /**
   * The rows of each of the matrices that lie one under the other in a whole parameter [rows,
   * columns], whatever is here of it, one number for a plain matrix; empty where it is none of a
   * hidden layer: an embedding, the output layer, a bias, a norm's gain.
   */
  List<Long> rowsOf(Parameter parameter);
}
