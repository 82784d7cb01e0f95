package dev.phalanx.deeplearning4j;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.PointToPoint;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.collectives.device.InterruptedWaitException;
import dev.phalanx.sharding.FlatOptimizer;
import dev.phalanx.sharding.UpdatedValues;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Updates a network's flat parameters where they lie, with one of our optimizers: all of them, or
 * of k ranks each its k-th part (ZeRO's stage 1: Rajbhandari et al., 2020, 5.1), which all then
 * gather.
 *
 * <pre>
 *   parameters   | 0_W          | 0_b | 1_W       | 1_b |
 *   rank 0       | part           |
 *   rank 1                        | part              ..|   (.. only gradients are padded)
 * </pre>
 *
 * <p>Used by the thread that trains.
 */
final class FlatUpdate implements UpdatedValues {
  /**
   * What this rank does not give to the optimizer: updates that the network makes itself, and
   * parameters that it keeps.
   */
  private record Plain(Tensor master, Tensor gradients, boolean isSum) {}

  private final TrainedNetwork network;
  private final Communicator ranks;
  private final Engine engine;
  private final NetworkOptimizer settings;
  private final Tensor values; // [n]
  private final Tensor gradients; // [n]
  private final long[] partCounts; // of each rank
  private final Tensor ownPart; // of values
  private final List<Parameter> parameters = new ArrayList<>();
  private final List<List<Share>> shares = new ArrayList<>();
  private final List<Piece> pieces = new ArrayList<>();
  private final List<Plain> plain = new ArrayList<>();
  private final long stateElementCount;
  private final FlatOptimizer optimizer;
  private final Tensor norm; // [1] FLOAT64
  private long waitedNanos;
  private long steps; // since the optimizer's state began

  /**
   * @param values the network's flat parameters, wrapped by the arena's engine
   * @param gradients its flat view of gradients, likewise
   */
  FlatUpdate(
      TrainedNetwork network,
      Communicator ranks,
      Arena arena,
      NetworkOptimizer settings,
      Tensor values,
      Tensor gradients) {
    this.network = network;
    this.ranks = ranks;
    this.engine = arena.engine();
    this.settings = settings;
    this.values = values;
    this.gradients = gradients;
    int shards = settings.isSharded() ? ranks.size() : 1;
    long count = values.elementCount();
    long part = partCount(count, shards);
    this.partCounts = new long[shards];
    for (int shard = 0; shard < shards; shard++) {
      partCounts[shard] = Math.max(0, Math.min(part, count - shard * part));
      shares.add(new ArrayList<>());
    }
    this.ownPart = values.slice(0, Math.min(count, holder() * part), partCounts[holder()]);
    this.stateElementCount = cut(part);
    this.optimizer = settings.factory().of(arena, this);
    this.norm = arena.allocate(DType.FLOAT64, 1);
  }

  /** Elements of each part but the last ones, which may be shorter. */
  static long partCount(long count, int shards) {
    return (count + shards - 1) / shards;
  }

  /** Gives every rank its share of every parameter; returns how many this rank trains. */
  private long cut(long part) {
    long state = 0;
    for (TrainedNetwork.Variable variable : network.variables()) {
      Parameter parameter =
          new Parameter(variable.name(), withoutOnes(variable.shape()), (seed, element) -> 0);
      if (variable.isTrained()) {
        parameters.add(parameter);
      }
      long end = variable.offset() + variable.count();
      for (int shard = 0; shard < shares.size(); shard++) {
        long from = Math.max(variable.offset(), shard * part);
        long length = Math.min(end, (shard + 1) * part) - from;
        if (length <= 0) {
          continue;
        }
        if (variable.isTrained()) {
          shares.get(shard).add(Share.ofWhole(parameter, from - variable.offset(), length));
        }
        if (shard == holder()) {
          Tensor master = values.slice(0, from, length);
          Tensor gradient = gradients.slice(0, from, length);
          if (variable.isTrained()) {
            pieces.add(new Piece(parameter, from - variable.offset(), master, gradient, state));
            state += length;
          } else {
            plain.add(new Plain(master, gradient, variable.isSum()));
          }
        }
      }
    }
    return state;
  }

  /** Biases and gains are rows of one in Deeplearning4j. */
  private static Shape withoutOnes(Shape shape) {
    return Shape.of(Arrays.stream(shape.toArray()).filter(size -> size != 1).toArray());
  }

  /**
   * Updates this rank's part and gathers the others', then clears the gradients, so that the
   * network's own step changes nothing more.
   *
   * @param iteration from 0
   * @param divisor samples, by which sums are still to be divided
   * @param watch null: nobody sees gradients
   */
  void step(int iteration, int divisor, @Nullable StepWatch watch) {
    double scale = network.isAveraged() ? 1.0 / divisor : 1;
    double factor = watch == null ? 1 : watch.seen(scale * gradientNorm());
    for (Plain each : plain) {
      engine.addScaled(each.isSum() ? -scale : -1, each.gradients(), each.master());
    }
    steps++;
    optimizer.step(steps, settings.learningRate().applyAsDouble(iteration), scale * factor);
    engine.fill(gradients, 0);
    engine.synchronize(Device.CPU);
  }

  /** Of the sums, over all parts. */
  private double gradientNorm() {
    double squared = 0;
    for (Piece piece : pieces) {
      engine.squaredNorm(piece.gradients(), norm);
      engine.synchronize(Device.CPU);
      squared += Numbers.elements(norm).get(0);
    }
    Numbers.elements(norm).put(0, squared);
    sumOverHolders(norm);
    return Math.sqrt(Numbers.elements(norm).get(0));
  }

  /** How many steps the optimizer's state has seen, whatever the network was trained before. */
  long steps() {
    return steps;
  }

  /** Of the state that a checkpoint holds. */
  void setSteps(long done) {
    steps = done;
  }

  /** The optimizer's state by name, this rank's part; see {@link FlatOptimizer#state}. */
  Map<String, Tensor> state() {
    return optimizer.state();
  }

  /** Whether ranks have parts of the state; else each has all of it. */
  boolean isSharded() {
    return settings.isSharded();
  }

  String kind() {
    return settings.kind();
  }

  @Override
  public List<Run> runs() {
    List<Run> runs = new ArrayList<>();
    for (Piece piece : pieces) {
      runs.add(
          new Run(
              piece.master(),
              piece.gradients(),
              piece.stateOffset(),
              piece.parameter().isDecayed()));
    }
    return runs;
  }

  @Override
  public List<Piece> pieces() {
    return List.copyOf(pieces);
  }

  @Override
  public List<Parameter> parameters() {
    return List.copyOf(parameters);
  }

  @Override
  public void sumOverHolders(Tensor numbers) {
    if (settings.isSharded()) {
      await(ranks.allReduce(numbers, ReduceOperation.SUM));
    }
  }

  @Override
  public List<List<Share>> sharesOfHolders() {
    return List.copyOf(shares);
  }

  @Override
  public int holder() {
    return settings.isSharded() ? ranks.rank() : 0;
  }

  @Override
  public void exchange(List<PointToPoint> transfers) {
    if (!transfers.isEmpty()) {
      await(ranks.exchange(transfers));
    }
  }

  @Override
  public Tensor allocateState(Arena arena, Predicate<Parameter> isCovered) {
    long count =
        pieces.stream()
            .filter(piece -> isCovered.test(piece.parameter()))
            .mapToLong(piece -> piece.master().elementCount())
            .sum();
    return arena.zeros(DType.FLOAT32, count);
  }

  @Override
  public long stateElementCount() {
    return stateElementCount;
  }

  @Override
  public void refreshValues() {
    if (settings.isSharded() && ranks.size() > 1) {
      engine.synchronize(Device.CPU);
      await(ranks.allGather(ownPart, values, partCounts));
    }
  }

  private void await(Work work) {
    long begin = System.nanoTime();
    try {
      work.await();
    } catch (InterruptedException e) {
      throw new InterruptedWaitException(e);
    } finally {
      waitedNanos += System.nanoTime() - begin;
    }
  }

  /** Time that was waited for other ranks' parts. */
  long waitedNanos() {
    return waitedNanos;
  }

  /** How many elements of a tensor of state each rank has. All ranks call it together. */
  long[] countsOfRanks(Tensor state) throws InterruptedException {
    double[] counts = Numbers.ofAllRanks(ranks, (double) state.elementCount());
    return IntStream.range(0, counts.length).mapToLong(rank -> (long) counts[rank]).toArray();
  }
}
