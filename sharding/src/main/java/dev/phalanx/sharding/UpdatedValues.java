package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import java.util.List;

/** The part of a model that one rank's optimizer updates: all of it, or the rank's shard. */
public interface UpdatedValues {
  /**
   * Neighbours in memory that weight decay treats alike.
   *
   * @param master [n] FLOAT32: what is updated
   * @param gradients [n] FLOAT32, reduced over the ranks
   * @param stateOffset where the run begins in each tensor of the optimizer's state, in elements
   */
  record Run(Tensor master, Tensor gradients, long stateOffset, boolean isDecayed) {
    /** The run's part of a tensor of the optimizer's state. */
    Tensor of(Tensor state) {
      return state.slice(0, stateOffset, master.elementCount());
    }
  }

  /** Everything that is updated, in the order of memory. */
  List<Run> runs();

  /** The length of each tensor of the optimizer's state: elements that are updated, and padding. */
  long stateElementCount();

  /** Makes the values of the computation follow the master values, here and on the other ranks. */
  void refreshValues();
}
