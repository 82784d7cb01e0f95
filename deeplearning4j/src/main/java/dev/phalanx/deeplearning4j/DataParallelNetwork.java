package dev.phalanx.deeplearning4j;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.device.InterruptedWaitException;
import dev.phalanx.sharding.BucketSums;
import dev.phalanx.sharding.compression.Compression;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineNotFoundException;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.DoubleBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.zip.CRC32C;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.optimize.api.TrainingListener;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.adapter.MultiDataSetIteratorAdapter;
import org.nd4j.linalg.dataset.api.MultiDataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.dataset.api.iterator.MultiDataSetIterator;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A Deeplearning4j network on one of several ranks that train it together on different samples.
 * Every rank has the same parameters at all times; a batch of B samples over k ranks updates them
 * as one machine would with the whole batch.
 *
 * <pre>{@code
 * try (DataParallelNetwork<MultiLayerNetwork> rank = DataParallelNetwork.of(network, world)) {
 *   rank.fit(batches, epochs);   // all ranks call it, with the same batches
 * }
 * }</pre>
 *
 * <p>All ranks make the same calls in the same order. While this is open the network is trained by
 * it alone; evaluating and saving it is welcome at any time between calls. {@link TrainingListener}
 * s are called on rank 0; what they see of a batch while it is computed is rank 0's share, scores
 * and parameters afterwards are those of all.
 *
 * <p>Random numbers within a network, dropout's for instance, follow from the network's seed, the
 * iteration and the rank: a run can be repeated with as many ranks, and other numbers of ranks draw
 * others. The thread's {@code Nd4j.getRandom()} is set anew for each batch.
 *
 * <p>Batch normalisation normalises with the statistics of the whole batch, of which ranks tell
 * each other in the midst of both passes.
 *
 * <p>Thread: one, the one that made this.
 *
 * @param <M> {@code MultiLayerNetwork} or {@code ComputationGraph}
 */
public final class DataParallelNetwork<M extends Model> implements ParallelNetwork<M> {
  private final M model;
  private final TrainedNetwork network;
  private final Communicator ranks;
  private final @Nullable Engine engine;
  private final @Nullable Arena arena;
  private final Collection<TrainingListener> silenced; // not called while this is open
  private final GradientMemory gradients;
  private final GradientReducer reducer;
  private final @Nullable FlatUpdate update;
  private final LayerHelpers helpers;
  private final NetworkCheckpoints checkpoints;
  private long batchesOfEpoch; // done, of the epoch that is under way or that a checkpoint was in
  private boolean isInEpoch;
  private @Nullable MultiDataSet lastShard; // stands in where this rank has no more samples
  private boolean isClosed;

  /** Opens what compresses and updates. */
  @FunctionalInterface
  interface EngineSource {
    Engine open();
  }

  private DataParallelNetwork(
      M model,
      Communicator ranks,
      TrainingOptions options,
      EngineSource engines,
      Optional<PlannedOrder> order)
      throws InterruptedException {
    this.model = model;
    this.network = TrainedNetwork.of(model);
    this.ranks = ranks;
    this.silenced = ranks.rank() == 0 ? List.of() : network.listeners();
    requireFit(network, options);
    if (options.compression().isPresent() || options.optimizer().isPresent()) {
      this.engine = engines.open();
      this.arena = new Arena(engine, Device.CPU);
    } else {
      this.engine = null;
      this.arena = null;
    }
    boolean isSharded = options.optimizer().map(NetworkOptimizer::isSharded).orElse(false);
    Function<ByteBuffer, Storage> wrap = wrap(engine);
    Arena owner = arena;
    GradientMemory memory = null;
    try {
      begin();
      memory = GradientMemory.of(network, ranks, isSharded ? ranks.size() : 1, wrap);
      this.gradients = memory;
      this.reducer =
          new GradientReducer(
              network,
              ranks,
              gradients,
              isSharded && options.compression().isEmpty(),
              owner == null || options.compression().isEmpty()
                  ? null
                  : shapes -> new BucketSums(owner, ranks, options.compression(), shapes));
      this.update = owner == null ? null : update(options, owner, wrap, gradients.tensor());
      network.reduceWith(reducer, update);
      this.checkpoints =
          new NetworkCheckpoints(
              network, ranks, options, order, reducer.compressed(), arena, update);
      this.helpers = new LayerHelpers(network, reducer, ranks.size() == 1);
    } catch (InterruptedException | RuntimeException | Error e) {
      leave(memory);
      throw e;
    }
    if (!silenced.isEmpty()) {
      network.setListeners(List.of());
    }
  }

  /**
   * @throws IllegalArgumentException where a codec or an optimizer of ours is not for this network
   */
  static void requireFit(TrainedNetwork network, TrainingOptions options) {
    if (options.compression().isEmpty() && options.optimizer().isEmpty()) {
      return;
    }
    DataType type = network.model().params().dataType();
    if (type != DataType.FLOAT) {
      throw new IllegalArgumentException(
          "Compression and our optimizers are for networks of FLOAT, and this one is of "
              + type
              + ". Leave them out, or convert the network.");
    }
    if (options.optimizer().isPresent()) {
      network.requirePlainGradients();
    }
    options.compression().ifPresent(DataParallelNetwork::requireSumsOfGradients);
  }

  /** With momentum a codec hands on first moments, which updaters would take for gradients. */
  private static void requireSumsOfGradients(Compression codec) {
    boolean hasMomentum =
        (codec instanceof Compression.OneBit oneBit && oneBit.momentum() > 0)
            || (codec instanceof Compression.TopK topK && topK.momentum() > 0);
    if (hasMomentum) {
      throw new IllegalArgumentException(
          codec
              + " sums momenta, and the updaters of Deeplearning4j networks and our optimizers in"
              + " their place expect gradients. Use it with momentum 0.");
    }
  }

  private @Nullable FlatUpdate update(
      TrainingOptions options,
      Arena owner,
      Function<ByteBuffer, Storage> wrap,
      Tensor flatGradients) {
    if (options.optimizer().isEmpty()) {
      return null;
    }
    return new FlatUpdate(
        network,
        ranks,
        owner,
        options.optimizer().get(),
        NativeMemory.tensor(model.params(), wrap),
        flatGradients);
  }

  /** Kernels read only what their engine has wrapped. */
  private static Function<ByteBuffer, Storage> wrap(@Nullable Engine engine) {
    return engine == null ? NativeMemory::of : engine::wrap;
  }

  private static Engine openEngine() {
    try {
      return Engines.open("auto", EngineOptions.singleThreaded());
    } catch (EngineNotFoundException e) {
      throw new EngineNotFoundException(
          e.getMessage()
              + " Compression and our optimizers need one: add phalanx-engine-torch to the class"
              + " path.");
    }
  }

  /**
   * Joins the other ranks; all call it together. Parameters, the updater's state and the counts of
   * iterations and epochs become those of rank 0.
   *
   * @param ranks the group, which the caller closes after this
   * @throws IllegalArgumentException where the network cannot be trained so
   * @throws IllegalStateException where the ranks' networks are configured differently
   */
  public static <M extends Model> DataParallelNetwork<M> of(M network, Communicator ranks)
      throws InterruptedException {
    return of(network, ranks, TrainingOptions.DEFAULT);
  }

  /** {@link #of(Model, Communicator)} with options, equal on all ranks. */
  public static <M extends Model> DataParallelNetwork<M> of(
      M network, Communicator ranks, TrainingOptions options) throws InterruptedException {
    return new DataParallelNetwork<>(
        network, ranks, options, DataParallelNetwork::openEngine, Optional.empty());
  }

  /**
   * {@link #of(Model, Communicator, TrainingOptions)} for a plan.
   *
   * @param engines from elsewhere than the class path; this closes what it opens
   * @param order that a checkpoint must have to be gone on from
   */
  static <M extends Model> DataParallelNetwork<M> of(
      M network,
      Communicator ranks,
      TrainingOptions options,
      EngineSource engines,
      PlannedOrder order)
      throws InterruptedException {
    return new DataParallelNetwork<>(network, ranks, options, engines, Optional.of(order));
  }

  /** Makes the ranks' networks the same. */
  private void begin() throws InterruptedException {
    try (Tensor progress = NativeMemory.numbers(2)) {
      DoubleBuffer numbers = Numbers.elements(progress);
      numbers.put(0, network.iterations()).put(1, network.epochs());
      ranks.broadcast(progress, 0).await();
      network.setProgress((int) numbers.get(0), (int) numbers.get(1));
    }
    requireSameConfiguration();
    broadcast(model.params());
    INDArray state = network.updater().getStateViewArray();
    if (state != null) {
      broadcast(state);
    }
  }

  private void requireSameConfiguration() throws InterruptedException {
    CRC32C checksum = new CRC32C();
    checksum.update(network.configuration().getBytes(StandardCharsets.UTF_8));
    double[] found = Numbers.ofAllRanks(ranks, (double) checksum.getValue());
    for (int rank = 1; rank < found.length; rank++) {
      if (found[rank] != found[0]) {
        throw new IllegalStateException(
            "The networks of rank 0 and rank "
                + rank
                + " are configured differently. Give every rank the same configuration, with the"
                + " same seed(): without one each process draws its own.");
      }
    }
  }

  private void broadcast(INDArray array) throws InterruptedException {
    try (Tensor tensor = NativeMemory.tensor(array, NativeMemory::of)) {
      ranks.broadcast(tensor, 0).await();
    }
  }

  @Override
  public M network() {
    return model;
  }

  /** This rank's number, from 0. */
  public int rank() {
    return ranks.rank();
  }

  @Override
  public int ranks() {
    return ranks.size();
  }

  @Override
  public double waitedMillis() {
    return (reducer.waitedNanos() + (update == null ? 0 : update.waitedNanos())) / 1e6;
  }

  /** Whether ranks of this host read each other's gradients where they lie. */
  public boolean sharesMemory() {
    return gradients.isShared();
  }

  // ------------------------------------------------------------------- the same batches everywhere

  @Override
  public void fit(MultiDataSetIterator batches, int epochs) throws InterruptedException {
    requireOpen();
    requireEpochs(batches, epochs);
    for (int epoch = 0; epoch < epochs; epoch++) {
      epoch(batches, (batch, skippedSample) -> fitShare(batch));
    }
  }

  @Override
  public void fit(MultiDataSet batch) throws InterruptedException {
    requireOpen();
    fitShare(batch);
  }

  /**
   * @param batch null: there is no more
   * @return whether there was one
   */
  private boolean fitShare(@Nullable MultiDataSet batch) throws InterruptedException {
    if (batch == null) {
      reducer.begin(0, -1, 0);
      return false;
    }
    long samples = Shares.samples(batch);
    long first = Shares.first(samples, ranks.rank(), ranks.size());
    long own = Shares.first(samples, ranks.rank() + 1, ranks.size()) - first;
    // A rank without a sample computes one that is not counted: its network sees the same calls.
    MultiDataSet share =
        own == samples ? batch : Shares.slice(batch, own == 0 ? 0 : first, Math.max(1, own));
    fitShare(share, own, samples);
    return true;
  }

  /**
   * One batch, of which this rank has read its share alone.
   *
   * @param share a sample at least; where this rank has none, one that is not counted
   * @param own samples that count
   * @param samples of all ranks
   */
  void fitShare(MultiDataSet share, long own, long samples) throws InterruptedException {
    reducer.begin(own, samples, network.updates(share));
    train(share);
  }

  /** Who sees gradients and gathers votes. */
  GradientReducer reducer() {
    return reducer;
  }

  /** What this rank holds of optimizer state, that of the network's own updater included. */
  long optimizerBytes() {
    INDArray own = network.updater().getStateViewArray();
    return (own == null ? 0 : own.length() * own.dataType().width())
        + (update == null ? 0 : update.state().values().stream().mapToLong(Tensor::byteSize).sum());
  }

  /** What layers work with beside their workspaces. */
  long workingBytes() {
    return helpers.byteSize();
  }

  // ------------------------------------------------------------------------ batches of the rank's
  // own

  /**
   * Trains for some epochs on batches of this rank's own: those of all ranks together make one
   * batch. Ranks may have different numbers of batches and of samples in them; an epoch ends where
   * none has any more.
   *
   * @throws IllegalStateException where a rank has no samples at all
   * @throws dev.phalanx.collectives.CollectiveException where another rank is lost
   */
  public void fitShards(DataSetIterator ownBatches, int epochs) throws InterruptedException {
    fitShards(new MultiDataSetIteratorAdapter(ownBatches), epochs);
  }

  /** {@link #fitShards(DataSetIterator, int)} for several inputs or outputs. */
  public void fitShards(MultiDataSetIterator ownBatches, int epochs) throws InterruptedException {
    requireOpen();
    requireEpochs(ownBatches, epochs);
    for (int epoch = 0; epoch < epochs; epoch++) {
      epoch(ownBatches, this::fitShard);
    }
  }

  private boolean fitShard(@Nullable MultiDataSet batch, @Nullable MultiDataSet skippedSample)
      throws InterruptedException {
    if (lastShard == null) {
      lastShard = skippedSample;
    }
    MultiDataSet computed = batch == null ? lastShard : batch;
    long own = batch == null ? 0 : Shares.samples(batch);
    if (reducer.begin(own, 0, computed == null ? 1 : network.updates(computed)) == 0) {
      return false;
    }
    if (computed == null) {
      throw new IllegalStateException(
          "Rank " + ranks.rank() + " has no samples at all: give each rank one at least.");
    }
    train(computed);
    if (lastShard == null) {
      lastShard = Shares.slice(computed, 0, 1).copy();
    }
    return true;
  }

  // ------------------------------------------------------------------------------------- an epoch

  private interface BatchStep {
    /**
     * @param batch null: there is no more
     * @param skippedSample of an epoch that goes on, if this rank has left out a batch
     * @return whether a rank had one
     */
    boolean run(@Nullable MultiDataSet batch, @Nullable MultiDataSet skippedSample)
        throws InterruptedException;
  }

  private void epoch(MultiDataSetIterator batches, BatchStep step) throws InterruptedException {
    beginEpoch();
    try (Prefetch prefetch = new Prefetch(batches, batchesOfEpoch)) {
      boolean isLast = false;
      while (!isLast) {
        MultiDataSet batch = prefetch.next();
        isLast = !step.run(batch, prefetch.skippedSample());
      }
      requireBatch();
      endEpoch();
    } finally {
      leaveEpoch();
    }
  }

  /** Tells listeners. From here on batches count as the epoch's. */
  void beginEpoch() {
    isInEpoch = true;
    network.listeners().forEach(listener -> listener.onEpochStart(model));
  }

  /**
   * @throws IllegalArgumentException where there would be no batches after the first epoch
   */
  static void requireEpochs(MultiDataSetIterator batches, int epochs) {
    if (epochs > 1 && !batches.resetSupported()) {
      throw new IllegalArgumentException(
          "The iterator cannot be reset, so it has batches for 1 epoch and not for "
              + epochs
              + ". Call fit once for each epoch, with a new iterator.");
    }
  }

  /**
   * @throws IllegalStateException where the epoch is at its end and had none
   */
  void requireBatch() {
    if (batchesOfEpoch == 0) {
      throw new IllegalStateException(
          "The epoch had no batch: the iterator is empty, or at its end and cannot be reset.");
    }
  }

  /** Tells listeners and counts. */
  void endEpoch() {
    network.listeners().forEach(listener -> listener.onEpochEnd(model));
    network.setProgress(network.iterations(), network.epochs() + 1);
    leaveEpoch();
  }

  /** The next epoch begins with its first batch, whether this one was done or failed. */
  void leaveEpoch() {
    isInEpoch = false;
    batchesOfEpoch = 0;
  }

  /** How many batches of the epoch are done. */
  long batchesOfEpoch() {
    return batchesOfEpoch;
  }

  private void train(MultiDataSet share) throws InterruptedException {
    int before = network.iterations();
    long place = (long) before * ranks.size() + ranks.rank();
    Nd4j.getRandom().setSeed(CounterRandom.at(model.conf().getSeed(), place));
    try {
      network.fit(share);
    } catch (InterruptedWaitException e) {
      Thread.interrupted(); // the exception tells it from here on
      throw (InterruptedException) new InterruptedException(e.getMessage()).initCause(e);
    } finally {
      reducer.leave();
    }
    reducer.requireAllUpdates();
    if (isInEpoch) {
      batchesOfEpoch++;
    }
    if (checkpoints.isDue(before, network.iterations())) {
      checkpoints.save(batchesOfEpoch);
    }
  }

  // ---------------------------------------------------------------------------------- checkpoints

  @Override
  public boolean resume(Path from) throws IOException, InterruptedException {
    requireOpen();
    Optional<Long> batches = checkpoints.restore(from);
    batches.ifPresent(done -> batchesOfEpoch = done);
    return batches.isPresent();
  }

  /** Begins a run that goes on from no checkpoint; see {@link NetworkCheckpoints#begin}. */
  void beginCheckpoints() throws InterruptedException {
    checkpoints.begin();
  }

  /** See {@link NetworkCheckpoints#newest}. */
  Optional<Path> newestCheckpoint() {
    return checkpoints.newest();
  }

  @Override
  public void saveCheckpoint() throws InterruptedException {
    requireOpen();
    checkpoints.save(batchesOfEpoch);
  }

  @Override
  public boolean decide(boolean own) throws InterruptedException {
    return Numbers.ofAllRanks(ranks, own ? 1 : 0)[0] == 1;
  }

  private void requireOpen() {
    if (isClosed) {
      throw new IllegalStateException("This network has left the other ranks");
    }
  }

  @Override
  public void close() {
    if (isClosed) {
      return;
    }
    isClosed = true;
    helpers.close();
    checkpoints.close();
    leave(gradients);
    if (!silenced.isEmpty() && network.listeners().isEmpty()) { // else others were set meanwhile
      network.setListeners(silenced);
    }
  }

  private void leave(@Nullable GradientMemory memory) {
    if (memory != null) {
      memory.close();
    }
    network.updateAlone();
    if (arena != null) {
      arena.close();
    }
    if (engine != null) {
      engine.close();
    }
  }
}
