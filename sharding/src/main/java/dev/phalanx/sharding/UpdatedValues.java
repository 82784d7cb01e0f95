package dev.phalanx.sharding;

import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.device.InterruptedWaitException;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import java.util.List;
import java.util.function.Predicate;

/**
 * The part of a model that one rank's optimizer updates: all of it, or the rank's shard. Its
 * holders are the ranks that have all elements of the parameters together: those that share one
 * copy, and where ranks divide each parameter ({@link Division}) those that share a copy of the
 * other parts.
 */
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

  /**
   * What this rank updates of one parameter: all of it, or a run of its elements.
   *
   * @param parameterOffset the first element's number within the parameter
   * @param master [n] FLOAT32: what is updated
   * @param gradients [n] FLOAT32, reduced over the ranks
   * @param stateOffset where the elements begin in each tensor of the optimizer's state
   */
  record Piece(
      Parameter parameter,
      long parameterOffset,
      Tensor master,
      Tensor gradients,
      long stateOffset) {
    /** The piece's part of a tensor of the optimizer's state. */
    Tensor of(Tensor state) {
      return state.slice(0, stateOffset, master.elementCount());
    }
  }

  /**
   * Elements of one block of a parameter that one holder updates, without their memory.
   *
   * @param parameterOffset the first element's number within what the holder and those that share
   *     its copy have of the parameter
   * @param block of the whole parameter
   * @param blockOffset the first element's number within the block
   * @param isCounted whether they count where each element counts once: no holder before this one
   *     has a copy of them
   */
  record Share(
      Parameter parameter,
      long parameterOffset,
      long count,
      Partition.Block block,
      long blockOffset,
      boolean isCounted) {
    /** Of a parameter that no ranks divide but those that share one copy. */
    public static Share ofWhole(Parameter parameter, long parameterOffset, long count) {
      Partition.Block all = Partition.whole(parameter.shape()).blocks().get(0);
      return new Share(parameter, parameterOffset, count, all, parameterOffset, true);
    }
  }

  /** Everything that is updated, in the order of memory. */
  List<Run> runs();

  /** The same as {@link #runs}, cut where a parameter ends; at most one piece of a parameter. */
  List<Piece> pieces();

  /** All parameters of the model, whoever updates them, on every rank in the same order. */
  List<Parameter> parameters();

  /**
   * Adds up numbers over the holders, in place; every one of them calls it. Nothing happens where
   * each rank updates everything.
   *
   * @param numbers on the CPU
   * @throws InterruptedWaitException where the thread is interrupted meanwhile
   * @throws dev.phalanx.collectives.CollectiveException where a rank is lost or disagrees
   */
  void sumOverHolders(Tensor numbers);

  /** What each holder updates, by their numbers; on every one of them the same, without padding. */
  List<List<Share>> sharesOfHolders();

  /** This rank's number among the holders. */
  int holder();

  /**
   * Sends and receives between holders, and waits for it.
   *
   * @param transfers of contiguous tensors on one device
   * @throws InterruptedWaitException where the thread is interrupted meanwhile
   * @throws dev.phalanx.collectives.CollectiveException where a rank is lost or disagrees
   */
  void exchange(List<PointToPoint> transfers);

  /**
   * A tensor of the optimizer's state for some parameters alone, zeros: FLOAT32, their {@link
   * #pieces} one after the other in that order. The others have no such state.
   *
   * @param arena owns it; it lives as long as this
   */
  Tensor allocateState(Arena arena, Predicate<Parameter> isCovered);

  /** The length of each tensor of the optimizer's state: elements that are updated, and padding. */
  long stateElementCount();

  /** Makes the values of the computation follow the master values, here and on the other ranks. */
  void refreshValues();
}
