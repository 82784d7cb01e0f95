package dev.phalanx.deeplearning4j;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.InterruptedWaitException;
import dev.phalanx.sharding.BucketSums;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * Makes the gradients of a rank's share those of the whole batch: the walk of one gradient.
 *
 * <pre>
 *   backward pass    leaves sums over this rank's samples in the network's flat view
 *   reduce           all-reduce of that view where it lies: sums over all samples
 *   updater          divides by the samples of all ranks, normalises, regularises, applies its rule
 * </pre>
 *
 * <p>Some parameters have no sum but an update made of the batch, such as batch normalisation's
 * running mean. Theirs is the mean over ranks, each weighted with its samples.
 *
 * <p>Compressed gradients are divided by the samples before they are sent, so that a threshold
 * means the same for every size of batch; updates of the other kind are never compressed.
 *
 * <p>Used by the thread that trains.
 */
final class GradientReducer {
  private static final int OWN_SAMPLES = 0;
  private static final int BATCH_SAMPLES = 1;
  private static final int UPDATES = 2;
  private static final int ITERATIONS = 3;
  private static final int EPOCHS = 4;
  private static final int HEADER = 5;

  private static final int SCORE = 0;
  private static final int VOTES = 1;

  /**
   * Sums that each rank needs a part of.
   *
   * @param padded [ranks * m], the flat view and its padding
   * @param own [m]
   */
  private record Scatter(Tensor padded, Tensor own) {}

  /** Neighbours in the flat view. */
  private record Run(INDArray array, Tensor tensor) {}

  private final TrainedNetwork network;
  private final Communicator ranks;
  private final Run whole;
  private final @Nullable Scatter scatter; // where ranks divide the update
  private final List<Run> sums = new ArrayList<>();
  private final List<Run> updates = new ArrayList<>();
  private final @Nullable BucketSums compressed; // of sums
  private final Tensor ownHeader = NativeMemory.numbers(HEADER);
  private final Tensor headers; // of all ranks
  private final Tensor sumsOfRanks = NativeMemory.numbers(2); // the score, votes
  private @Nullable StepWatch watch;
  private boolean ownVote;
  private long ownSamples;
  private long allSamples; // 0: no batch is under way
  private long expectedUpdates;
  private long doneUpdates;
  private long waitedNanos;
  private @Nullable Throwable failure; // unchecked, of a pass, which could not throw it

  /** Makes what compresses the sums over runs of parameters, of these shapes. */
  interface Compressor {
    BucketSums of(List<List<Shape>> shapes);
  }

  /**
   * @param memory of the network's flat view
   * @param isScattered whether a rank's part of the sums is enough for it
   * @param compressor null: gradients go as they are
   */
  GradientReducer(
      TrainedNetwork network,
      Communicator ranks,
      GradientMemory memory,
      boolean isScattered,
      @Nullable Compressor compressor) {
    this.network = network;
    this.ranks = ranks;
    INDArray flat = network.gradients().reshape(network.gradients().length());
    this.whole = new Run(flat, memory.tensor());
    this.scatter = isScattered ? scatter(memory.padded(), ranks) : null;
    this.headers = NativeMemory.numbers(Math.multiplyExact(HEADER, ranks.size()));
    List<List<Shape>> shapes = cut(flat, memory.tensor());
    this.compressed = compressor == null ? null : compressor.of(shapes);
  }

  private static Scatter scatter(Tensor padded, Communicator ranks) {
    long part = padded.elementCount() / ranks.size();
    return new Scatter(padded, padded.slice(0, ranks.rank() * part, part));
  }

  /** Cuts the view where the kind of parameter changes; returns the shapes of each run of sums. */
  private List<List<Shape>> cut(INDArray flat, Tensor gradients) {
    List<List<Shape>> shapes = new ArrayList<>();
    List<TrainedNetwork.Variable> variables = network.variables();
    int first = 0;
    while (first < variables.size()) {
      TrainedNetwork.Variable start = variables.get(first);
      List<Shape> inRun = new ArrayList<>();
      long count = 0;
      int next = first;
      while (next < variables.size() && variables.get(next).isSum() == start.isSum()) {
        inRun.add(variables.get(next).shape());
        count += variables.get(next).count();
        next++;
      }
      Run run =
          new Run(
              flat.get(NDArrayIndex.interval(start.offset(), start.offset() + count)),
              gradients.slice(0, start.offset(), count));
      if (start.isSum()) {
        sums.add(run);
        shapes.add(inRun);
      } else {
        updates.add(run);
      }
      first = next;
    }
    return shapes;
  }

  /** What compresses; null where nothing does. */
  @Nullable BucketSums compressed() {
    return compressed;
  }

  /** From now on somebody sees gradients before they update anything. */
  void watch(StepWatch seeing) {
    watch = seeing;
  }

  /** Who sees gradients; null: nobody. */
  @Nullable StepWatch watch() {
    return watch;
  }

  /** What this rank says in the next updates; see {@link #votes}. */
  void vote(boolean own) {
    ownVote = own;
  }

  /** How many ranks said yes in the last update; the same on all ranks. */
  int votes() {
    return (int) get(sumsOfRanks, VOTES);
  }

  /**
   * Shows the gradients that {@link #reduce} has left, all of which this rank has.
   *
   * @param divisor what that has returned
   */
  void showGradients(int divisor) {
    StepWatch watching = watch;
    if (watching != null) {
      double squared = 0;
      for (Run run : sums) {
        double norm = run.array().norm2Number().doubleValue();
        squared += norm * norm;
      }
      watching.seen(Math.sqrt(squared) / (network.isAveraged() ? divisor : 1));
    }
  }

  /** Time that was waited for other ranks, since the start. */
  long waitedNanos() {
    return waitedNanos;
  }

  /**
   * Ranks tell each other what they bring to the next batch. Counts of iterations and epochs, which
   * learning rates follow, become those of rank 0.
   *
   * @param own samples of this rank's share; 0 for none
   * @param batch samples of the whole batch, as far as this rank knows: the same on all ranks; -1
   *     where it has no more batch
   * @param updateCount how often the batch will update the parameters
   * @return the samples of all ranks; 0 where none has any
   * @throws IllegalStateException on all ranks, where what they bring does not fit together
   */
  long begin(long own, long batch, long updateCount) throws InterruptedException {
    set(ownHeader, OWN_SAMPLES, (double) own);
    set(ownHeader, BATCH_SAMPLES, (double) batch);
    set(ownHeader, UPDATES, (double) updateCount);
    set(ownHeader, ITERATIONS, network.iterations());
    set(ownHeader, EPOCHS, network.epochs());
    long begin = System.nanoTime();
    ranks.allGather(ownHeader, headers).await();
    waitedNanos += System.nanoTime() - begin;
    long total = 0;
    long most = 0;
    for (int rank = 0; rank < ranks.size(); rank++) {
      total += header(rank, OWN_SAMPLES);
      requireSameBatch(rank);
      if (header(rank, OWN_SAMPLES) > 0) {
        most = Math.max(most, header(rank, UPDATES));
      }
    }
    if (total > 0) {
      requireSameUpdates(most);
    }
    network.setProgress((int) header(0, ITERATIONS), (int) header(0, EPOCHS));
    ownSamples = own;
    allSamples = total;
    expectedUpdates = most;
    doneUpdates = 0;
    return total;
  }

  /** Whether a batch of all ranks is being computed; listeners behind its update are not in it. */
  boolean isUnderWay() {
    return allSamples > 0 && doneUpdates < expectedUpdates;
  }

  /**
   * A pass of a layer's helper. What it fails with in the midst of a batch is kept for {@link
   * #reduce} to throw, for Deeplearning4j goes on by itself where a helper throws something;
   * elsewhere that is its matter.
   *
   * @return nothing where the layer is to compute by itself
   */
  <T> @Nullable T attempt(Supplier<@Nullable T> pass) {
    try {
      return pass.get();
    } catch (RuntimeException | Error e) {
      if (!isUnderWay()) {
        throw e;
      }
      fail(e);
      return null;
    }
  }

  private void fail(Throwable problem) {
    if (failure == null && isUnderWay()) {
      failure = problem;
    }
  }

  /** Whether this rank's share counts in the batch that is under way. */
  boolean hasSamples() {
    return ownSamples > 0;
  }

  /**
   * Sums numbers over all ranks in the midst of a pass, in which all of them do so.
   *
   * @param own [n] FLOAT64, of this rank; those of all ranks afterwards
   * @return whether they have been; else {@link #reduce} tells why not
   */
  boolean sum(Tensor own) {
    if (failure != null) {
      return false;
    }
    long begin = System.nanoTime();
    try {
      ranks.allReduce(own, ReduceOperation.SUM).await();
      return true;
    } catch (InterruptedException e) {
      fail(new InterruptedWaitException(e));
    } catch (RuntimeException e) {
      fail(e);
    } finally {
      waitedNanos += System.nanoTime() - begin;
    }
    return false;
  }

  private void requireSameBatch(int rank) {
    long first = header(0, BATCH_SAMPLES);
    long other = header(rank, BATCH_SAMPLES);
    if (first != other) {
      throw new IllegalStateException(
          "Rank 0 has "
              + batch(first)
              + " and rank "
              + rank
              + " has "
              + batch(other)
              + ". fit takes its share of each batch, so every rank must iterate over the same"
              + " batches; ranks with batches of their own call fitShards.");
    }
  }

  private static String batch(long samples) {
    return samples < 0 ? "no more batch" : "a batch of " + samples + " samples";
  }

  private void requireSameUpdates(long most) {
    for (int rank = 0; rank < ranks.size(); rank++) {
      long own = header(rank, UPDATES);
      if (own != most) {
        throw new IllegalStateException(
            "Truncated backpropagation through time updates "
                + most
                + " times in this batch, and "
                + own
                + " times on rank "
                + rank
                + ". Give all ranks time series of the same length: pad them and mask the rest.");
      }
    }
  }

  private long header(int rank, int field) {
    return (long) get(headers, rank * HEADER + field);
  }

  /**
   * Called by the updater when this rank's gradients are there: makes them those of all ranks.
   *
   * @return by how many samples they are still to be divided
   */
  int reduce() {
    if (allSamples == 0) {
      throw new IllegalStateException(
          "This network is trained on several ranks: call fit of its DataParallelNetwork or"
              + " ParallelTraining, which all ranks do together. Close that before you train the"
              + " network alone.");
    }
    throwFailure();
    doneUpdates++;
    if (ownSamples == 0) {
      whole.array().assign(0); // made of a sample that another rank counts
    }
    double weight = (double) ownSamples / allSamples;
    if (ranks.size() > 1) {
      updates.forEach(run -> run.array().muli(weight));
    }
    // The mean of scores over samples has it once; a sum of scores would have it once a rank.
    double regularization = network.isAveraged() ? 0 : network.regularizationScore();
    set(sumsOfRanks, SCORE, weighted(network.model().score() - regularization, weight));
    set(sumsOfRanks, VOTES, ownVote ? 1 : 0);
    long begin = System.nanoTime();
    try {
      int divisor = ranks.size() > 1 && compressed != null ? reduceCompressed() : reduceWhole();
      network.setScore(get(sumsOfRanks, SCORE) + regularization);
      return divisor;
    } catch (InterruptedException e) {
      throw new InterruptedWaitException(e);
    } finally {
      waitedNanos += System.nanoTime() - begin;
    }
  }

  private void throwFailure() {
    Throwable problem = failure;
    if (problem instanceof RuntimeException exception) {
      throw exception;
    }
    if (problem != null) {
      throw (Error) problem;
    }
  }

  /** A score is a mean over samples, or a sum where the network averages nothing. */
  private double weighted(double ownScore, double weight) {
    if (ownSamples == 0) {
      return 0;
    }
    return network.isAveraged() ? ownScore * weight : ownScore;
  }

  private int reduceWhole() throws InterruptedException {
    Work gradients =
        scatter == null
            ? ranks.allReduce(whole.tensor(), ReduceOperation.SUM)
            : ranks.reduceScatter(scatter.padded(), scatter.own(), ReduceOperation.SUM);
    Work scores = ranks.allReduce(sumsOfRanks, ReduceOperation.SUM);
    gradients.await();
    scores.await();
    return Math.toIntExact(allSamples);
  }

  private int reduceCompressed() throws InterruptedException {
    BucketSums buckets = compressed;
    if (buckets == null) {
      throw new IllegalStateException("There is nothing to compress with");
    }
    List<Tensor> gradients = new ArrayList<>();
    for (Run run : sums) {
      if (network.isAveraged()) {
        run.array().divi(allSamples);
      }
      gradients.add(run.tensor());
    }
    buckets.beginStep(network.iterations() + 1L);
    DeviceCollectives.Pending pending = buckets.allReduce(gradients);
    List<Work> works = new ArrayList<>();
    updates.forEach(run -> works.add(ranks.allReduce(run.tensor(), ReduceOperation.SUM)));
    works.add(ranks.allReduce(sumsOfRanks, ReduceOperation.SUM));
    pending.await();
    for (Work work : works) {
      work.await();
    }
    return 1;
  }

  /** The batch is over, whether it was done or failed. */
  void leave() {
    allSamples = 0;
    failure = null;
  }

  /**
   * @throws IllegalStateException where the network did not ask for the other ranks' gradients
   */
  void requireAllUpdates() {
    if (doneUpdates != expectedUpdates) {
      throw new IllegalStateException(
          "The network updated its parameters without the other ranks' gradients ("
              + doneUpdates
              + " of "
              + expectedUpdates
              + " times with them). Was its updater replaced, or clear() called?");
    }
  }

  private static double get(Tensor numbers, int index) {
    return Numbers.elements(numbers).get(index);
  }

  private static void set(Tensor numbers, int index, double value) {
    Numbers.elements(numbers).put(index, value);
  }
}
