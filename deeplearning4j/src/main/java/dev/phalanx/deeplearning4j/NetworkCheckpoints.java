package dev.phalanx.deeplearning4j;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.CheckpointSaver;
import dev.phalanx.checkpoint.CheckpointWriteException;
import dev.phalanx.checkpoint.LocalCheckpointStore;
import dev.phalanx.checkpoint.SavedCheckpoint;
import dev.phalanx.checkpoint.safetensors.SafetensorsFile;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.sharding.BucketSums;
import dev.phalanx.sharding.compression.Compression;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.trainer.CheckpointWriting;
import dev.phalanx.trainer.CompressionCheckpoint;
import dev.phalanx.trainer.ResumePoint;
import java.io.IOException;
import java.nio.DoubleBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.LongStream;
import org.deeplearning4j.util.ModelSerializer;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.api.preprocessor.Normalizer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Checkpoints of a network, which rank 0 writes and all ranks read: our own files, and beside them
 * {@code network.zip} for Deeplearning4j's {@code ModelSerializer}.
 */
final class NetworkCheckpoints implements AutoCloseable {
  private static final Logger LOGGER = LoggerFactory.getLogger(NetworkCheckpoints.class);

  private static final String NETWORK_FILE = "network.zip";
  private static final String UPDATER = "updater";
  private static final String PROGRESS = "progress"; // iterations, epochs, batches of this epoch
  private static final int PROGRESS_FIELDS = 3;
  private static final String STEPS = "steps"; // of our optimizer's state
  private static final String CODEC_FILE = "compression.txt";
  private static final Duration BETWEEN_SIGNS = Duration.ofSeconds(1);
  private static final double NONE = -1; // in the place of a checkpoint's step
  private static final double REFUSED = -2;

  /** An array as a tensor, which does not keep the array's memory alive by itself. */
  private record Flat(INDArray array, Tensor tensor) {
    static Flat of(INDArray array) {
      return new Flat(array, NativeMemory.tensor(array, NativeMemory::of));
    }
  }

  private final TrainedNetwork network;
  private final Communicator ranks;
  private final Optional<TrainingOptions.Checkpoints> settings;
  private final Optional<Normalizer<?>> normalizer;
  private final Optional<PlannedOrder> order;
  private final @Nullable CompressionCheckpoint residuals;
  private final Optional<String> codec;
  private final Flat parameters;
  private final @Nullable FlatUpdate update; // one of our optimizers
  private final @Nullable Flat updater; // the network's own, else
  private final @Nullable LocalCheckpointStore store; // on rank 0, as the next
  private final @Nullable CheckpointSaver saver;
  private final CheckpointWriting writing;
  private final Tensor progress = NativeMemory.numbers(PROGRESS_FIELDS);
  private final Tensor steps = NativeMemory.numbers(1);
  private boolean isFolderReady;

  /** All ranks make theirs together. */
  NetworkCheckpoints(
      TrainedNetwork network,
      Communicator ranks,
      TrainingOptions options,
      Optional<PlannedOrder> order,
      @Nullable BucketSums compressed,
      @Nullable Arena arena,
      @Nullable FlatUpdate update)
      throws InterruptedException {
    this.network = network;
    this.ranks = ranks;
    this.settings = options.checkpoints();
    this.normalizer = options.normalizer();
    this.order = order;
    this.residuals =
        compressed == null || arena == null
            ? null
            : new CompressionCheckpoint(
                ranks,
                arena,
                1,
                0,
                compressed.state().values(),
                compressed.commonState().values(),
                OptionalLong.empty()); // a network has the same buckets everywhere
    this.codec =
        compressed == null
            ? Optional.empty()
            : compressed.compression().map(Compression::toString); // a record with its settings
    this.parameters = Flat.of(network.model().params());
    this.update = update;
    INDArray state = update == null ? network.updater().getStateViewArray() : null;
    this.updater = state == null ? null : Flat.of(state);
    TrainingOptions.Checkpoints where = ranks.rank() == 0 ? settings.orElse(null) : null;
    this.store = where == null ? null : new LocalCheckpointStore(where.folder());
    this.saver =
        where == null || store == null
            ? null
            : new CheckpointSaver(store, where.keep(), null, directory -> {});
    this.writing = new CheckpointWriting(ranks, NativeMemory::bytes, saver, BETWEEN_SIGNS);
  }

  /** Whether one is due when the network has gone from one count of iterations to another. */
  boolean isDue(long before, long after) {
    long every = settings.map(TrainingOptions.Checkpoints::everyIterations).orElse(0L);
    return every > 0 && after / every > before / every;
  }

  /**
   * All ranks call it together.
   *
   * @param batchesOfEpoch that are done
   */
  void save(long batchesOfEpoch) throws InterruptedException {
    if (settings.isEmpty()) {
      throw new IllegalStateException("TrainingOptions name no folder for checkpoints");
    }
    List<Tensor> gathered = new ArrayList<>();
    try {
      List<SafetensorsWriter.Entry> optimizer = new ArrayList<>();
      if (updater != null) {
        optimizer.add(new SafetensorsWriter.Entry(UPDATER, updater.tensor()));
      }
      if (update != null) {
        optimizer.addAll(gatherState(update, gathered));
        Numbers.elements(steps).put(0, (double) update.steps());
        optimizer.add(new SafetensorsWriter.Entry(STEPS, steps));
      }
      fields().put(network.iterations()).put(network.epochs()).put((double) batchesOfEpoch);
      optimizer.add(new SafetensorsWriter.Entry(PROGRESS, progress));
      if (residuals != null) {
        optimizer.addAll(residuals.gather(gathered));
      }
      try {
        startSaving(optimizer, gathered);
      } catch (CheckpointWriteException e) {
        throw writing.told(e);
      }
      writing.awaitWritten();
    } finally {
      if (saver != null) {
        saver.awaitQuiet(); // it reads what is closed and changed after this
      }
      gathered.forEach(Tensor::close);
    }
  }

  private void startSaving(List<SafetensorsWriter.Entry> optimizer, List<Tensor> gathered)
      throws InterruptedException {
    if (saver != null) {
      prepareFolder();
      saver.start(manifest(), model(gathered), optimizer, otherFiles());
    }
  }

  /** The newest checkpoint that this run has saved; on rank 0. */
  Optional<Path> newest() {
    return saver == null ? Optional.empty() : saver.newest();
  }

  /** Parts of ranks one after the other are whole tensors, in the order of flat memory. */
  private List<SafetensorsWriter.Entry> gatherState(FlatUpdate ours, List<Tensor> gathered)
      throws InterruptedException {
    List<SafetensorsWriter.Entry> entries = new ArrayList<>();
    for (Map.Entry<String, Tensor> kind : ours.state().entrySet()) {
      Tensor whole = kind.getValue();
      if (ours.isSharded()) {
        long[] counts = ours.countsOfRanks(whole);
        whole = NativeMemory.floats(LongStream.of(counts).sum());
        gathered.add(whole);
        ranks.allGather(kind.getValue(), whole, counts).await();
      }
      entries.add(new SafetensorsWriter.Entry(kind.getKey(), whole));
    }
    return entries;
  }

  private void restoreState(FlatUpdate ours, SafetensorsFile file)
      throws IOException, InterruptedException {
    for (Map.Entry<String, Tensor> kind : ours.state().entrySet()) {
      long[] counts =
          ours.isSharded()
              ? ours.countsOfRanks(kind.getValue())
              : new long[] {kind.getValue().elementCount()};
      long first = LongStream.of(counts).limit(ours.holder()).sum();
      try (Tensor whole = NativeMemory.floats(LongStream.of(counts).sum());
          Tensor own = whole.slice(0, first, kind.getValue().elementCount())) {
        file.read(kind.getKey(), whole);
        NativeMemory.copy(own, kind.getValue());
      }
    }
  }

  private DoubleBuffer fields() {
    return Numbers.elements(progress);
  }

  private CheckpointManifest manifest() {
    return new CheckpointManifest(
        network.iterations(),
        0,
        Long.MAX_VALUE,
        network.model().conf().getSeed(),
        ranks.size(),
        optimizerKind(),
        Optional.empty(),
        network.configuration(),
        List.of());
  }

  /** Views of the parameters, which are closed with what is gathered. */
  private List<SafetensorsWriter.Entry> model(List<Tensor> gathered) {
    List<SafetensorsWriter.Entry> model = new ArrayList<>();
    for (TrainedNetwork.Variable variable : network.variables()) {
      Tensor part = part(variable);
      Tensor shaped = part.reshape(variable.shape().toArray());
      gathered.add(part);
      gathered.add(shaped);
      model.add(new SafetensorsWriter.Entry(variable.name(), shaped));
    }
    return model;
  }

  private List<LocalCheckpointStore.OtherFile> otherFiles() {
    List<LocalCheckpointStore.OtherFile> files = new ArrayList<>();
    files.add(
        new LocalCheckpointStore.OtherFile(
            NETWORK_FILE,
            file -> {
              ModelSerializer.writeModel(network.model(), file.toFile(), true);
              normalizer.ifPresent(
                  data -> ModelSerializer.addNormalizerToModel(file.toFile(), data));
            }));
    codec.ifPresent(text -> files.add(text(CODEC_FILE, text)));
    order.ifPresent(planned -> files.add(text(PlannedOrder.FILE, planned.toString())));
    return files;
  }

  private static LocalCheckpointStore.OtherFile text(String name, String text) {
    return new LocalCheckpointStore.OtherFile(name, file -> Files.writeString(file, text));
  }

  private String optimizerKind() {
    return update == null ? "deeplearning4j" : update.kind();
  }

  private Tensor part(TrainedNetwork.Variable variable) {
    return parameters.tensor().slice(0, variable.offset(), variable.count());
  }

  /**
   * Begins a run that goes on from nothing: it does not mix with an earlier one. Without this it is
   * so from the first save on. All ranks call it together.
   */
  void begin() throws InterruptedException {
    prepareFolder();
    ranks.barrier().await();
  }

  private void prepareFolder() throws InterruptedException {
    if (isFolderReady || store == null) {
      return;
    }
    writing.claim(store);
    try {
      Optional<Path> aside = store.setAside();
      aside.ifPresent(
          path ->
              LOGGER.warn(
                  "This is a new run: the checkpoints of an earlier one are now in {}. To go on"
                      + " from them instead, resume from there",
                  path));
    } catch (IOException e) {
      throw new CheckpointWriteException(
          "The folder " + store.root() + " could not be tidied: " + e.getMessage(), e);
    }
    isFolderReady = true;
  }

  /**
   * Takes over what a checkpoint holds; all ranks call it together.
   *
   * @param from a checkpoint, or a folder whose newest one is taken
   * @return how many batches of the epoch are done; empty where there is no checkpoint
   */
  Optional<Long> restore(Path from) throws IOException, InterruptedException {
    if (store != null) {
      writing.claim(store);
      store.cleanUp();
    }
    ranks.barrier().await(); // nobody looks before rank 0 has tidied up
    Path directory;
    try (SavedCheckpoint checkpoint = agreed(from)) {
      if (checkpoint == null) {
        return Optional.empty();
      }
      directory = checkpoint.directory();
      for (TrainedNetwork.Variable variable : network.variables()) {
        try (Tensor part = part(variable);
            Tensor shaped = part.reshape(variable.shape().toArray())) {
          checkpoint.model().read(variable.name(), shaped);
        }
      }
      if (updater != null) {
        checkpoint.optimizer().read(UPDATER, updater.tensor());
      }
      if (update != null) {
        restoreState(update, checkpoint.optimizer());
        checkpoint.optimizer().read(STEPS, steps);
        update.setSteps((long) Numbers.elements(steps).get(0));
      }
      checkpoint.optimizer().read(PROGRESS, progress);
      restoreResiduals(checkpoint);
    }
    ranks.barrier().await(); // rank 0 tidies up the folder only when all have read
    if (ranks.rank() == 0) {
      prepareFolder(directory);
    }
    DoubleBuffer read = fields();
    network.setProgress((int) read.get(0), (int) read.get(1));
    return Optional.of((long) read.get(2));
  }

  /**
   * The checkpoint, open, when every rank has found the same one whole and fit for its network;
   * nothing of any rank has changed until then.
   *
   * @return null where no rank has found one
   */
  private @Nullable SavedCheckpoint agreed(Path from) throws IOException, InterruptedException {
    Map<String, Long> state = update == null ? Map.of() : stateCounts(update);
    SavedCheckpoint found = null;
    Exception refusal = null;
    try {
      found = open(from, state);
    } catch (IOException | RuntimeException e) {
      refusal = e;
    }
    double own = found == null ? NONE : found.manifest().step();
    double[] all = Numbers.ofAllRanks(ranks, refusal == null ? own : REFUSED);
    if (refusal instanceof IOException unreadable) {
      throw unreadable;
    }
    if (refusal instanceof RuntimeException unfit) {
      throw unfit;
    }
    try {
      requireSameOnAllRanks(all);
    } catch (BadCheckpointException e) {
      if (found != null) {
        found.close();
      }
      throw e;
    }
    return found;
  }

  /** Elements of all ranks' parts together. */
  private static Map<String, Long> stateCounts(FlatUpdate ours) throws InterruptedException {
    Map<String, Long> counts = new LinkedHashMap<>();
    for (Map.Entry<String, Tensor> kind : ours.state().entrySet()) {
      Tensor own = kind.getValue();
      counts.put(
          kind.getKey(),
          ours.isSharded() ? LongStream.of(ours.countsOfRanks(own)).sum() : own.elementCount());
    }
    return counts;
  }

  private @Nullable SavedCheckpoint open(Path from, Map<String, Long> state) throws IOException {
    Optional<Path> directory =
        Files.isRegularFile(from.resolve(CheckpointManifest.FILE))
            ? Optional.of(from)
            : new LocalCheckpointStore(from).newest();
    if (directory.isEmpty()) {
      return null;
    }
    SavedCheckpoint checkpoint = SavedCheckpoint.open(directory.get());
    try {
      checkpoint.verify();
      requireSameNetwork(checkpoint, state);
      return checkpoint;
    } catch (IOException | RuntimeException e) {
      checkpoint.close();
      throw e;
    }
  }

  private static void requireSameOnAllRanks(double[] all) {
    for (int rank = 0; rank < all.length; rank++) {
      if (all[rank] == REFUSED) {
        throw new BadCheckpointException(
            "Rank "
                + rank
                + " cannot go on from its checkpoint, so no rank does: its error says why.");
      }
      if (all[rank] != all[0]) {
        throw new BadCheckpointException(
            "Rank 0 found the checkpoint of step "
                + (long) all[0]
                + " and rank "
                + rank
                + " that of step "
                + (long) all[rank]
                + " (-1: none). Name a folder that every rank sees.");
      }
    }
  }

  private void requireSameNetwork(SavedCheckpoint checkpoint, Map<String, Long> state)
      throws IOException {
    List<String> own = network.variables().stream().map(TrainedNetwork.Variable::name).toList();
    List<String> saved = List.copyOf(checkpoint.model().names());
    if (!own.equals(saved)) {
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " is of another network: its parameters are "
              + saved
              + " and this one's are "
              + own);
    }
    if (!checkpoint.manifest().optimizer().equals(optimizerKind())) {
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " was written with the optimizer "
              + checkpoint.manifest().optimizer()
              + ", and this run has "
              + optimizerKind()
              + ". Go on with the same.");
    }
    if (update == null) {
      requireSameRules(checkpoint);
    }
    requireSameOrder(checkpoint);
    for (TrainedNetwork.Variable variable : network.variables()) {
      requireShape(checkpoint, variable);
    }
    if (updater != null) {
      requireCount(checkpoint, checkpoint.optimizer(), UPDATER, updater.tensor().elementCount());
    }
    state.forEach((name, count) -> requireCount(checkpoint, checkpoint.optimizer(), name, count));
    if (update != null) {
      requireCount(checkpoint, checkpoint.optimizer(), STEPS, 1);
    }
    requireCount(checkpoint, checkpoint.optimizer(), PROGRESS, PROGRESS_FIELDS);
  }

  /** Other rules would take over a state of the same size that means something else. */
  private void requireSameRules(SavedCheckpoint checkpoint) {
    List<String> own = network.rules(network.configuration());
    List<String> saved = network.rules(checkpoint.manifest().plan());
    if (!own.equals(saved)) {
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " is of a network whose layers are updated by "
              + saved
              + ", and this one's by "
              + own
              + ". Go on with the same.");
    }
  }

  private void requireSameOrder(SavedCheckpoint checkpoint) throws IOException {
    Path file = checkpoint.directory().resolve(PlannedOrder.FILE);
    if (order.isEmpty() || !Files.isRegularFile(file)) { // which no plan has written
      return;
    }
    String saved = Files.readString(file);
    if (!saved.equals(order.get().toString())) {
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " does not fit the plan: its steps are those of "
              + saved
              + ", and the plan's are of "
              + order.get()
              + ". Give it the same data, data.seed, evaluation.fraction and batch.global as"
              + " before, or start anew without --resume.");
    }
  }

  private static void requireShape(SavedCheckpoint checkpoint, TrainedNetwork.Variable variable) {
    Shape saved = checkpoint.model().shape(variable.name());
    if (!saved.equals(variable.shape())) {
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " is of another network: its "
              + variable.name()
              + " is "
              + saved
              + " and this one's is "
              + variable.shape());
    }
  }

  private static void requireCount(
      SavedCheckpoint checkpoint, SafetensorsFile file, String name, long wanted) {
    long found = file.names().contains(name) ? file.shape(name).elementCount() : 0;
    if (found != wanted) {
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " is of another network: its "
              + name
              + " has "
              + found
              + " elements and this one's has "
              + wanted);
    }
  }

  private void restoreResiduals(SavedCheckpoint checkpoint) throws IOException {
    if (residuals == null) {
      return;
    }
    Path saved = checkpoint.directory().resolve(CODEC_FILE);
    boolean isSameCodec =
        codec.isPresent()
            && Files.isRegularFile(saved)
            && Files.readString(saved).equals(codec.get());
    boolean isLost = residuals.restore(checkpoint.optimizer(), isSameCodec, true).residuals();
    if (isLost && ranks.rank() == 0) {
      LOGGER.warn(
          "The residuals of gradient compression in {} are not those of this codec and {} ranks:"
              + " what they held is lost, once",
          checkpoint.directory(),
          ranks.size());
    }
  }

  private void prepareFolder(Path from) throws IOException, InterruptedException {
    if (store == null) {
      return;
    }
    if (ResumePoint.isIn(from, store.root())) {
      store.cleanUp();
      Optional<Path> aside = store.setAsideAfter((long) fields().get(0));
      aside.ifPresent(path -> LOGGER.warn("Checkpoints of later steps are now in {}", path));
      isFolderReady = true;
    } else {
      prepareFolder();
    }
  }

  /** Returns when nothing is being written. */
  @Override
  public void close() {
    if (saver != null) {
      saver.close();
    }
    if (store != null) {
      store.close();
    }
    parameters.tensor().close();
    progress.close();
    steps.close();
    if (updater != null) {
      updater.tensor().close();
    }
  }
}
