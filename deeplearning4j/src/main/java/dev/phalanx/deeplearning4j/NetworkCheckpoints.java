package dev.phalanx.deeplearning4j;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.CheckpointWriteException;
import dev.phalanx.checkpoint.LocalCheckpointStore;
import dev.phalanx.checkpoint.SavedCheckpoint;
import dev.phalanx.checkpoint.safetensors.SafetensorsFile;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.collectives.Communicator;
import dev.phalanx.sharding.BucketSums;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.trainer.CompressionCheckpoint;
import java.io.IOException;
import java.nio.DoubleBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.LongStream;
import org.deeplearning4j.util.ModelSerializer;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.ndarray.INDArray;
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

  private final TrainedNetwork network;
  private final Communicator ranks;
  private final Optional<TrainingOptions.Checkpoints> settings;
  private final @Nullable CompressionCheckpoint residuals;
  private final Tensor parameters;
  private final @Nullable FlatUpdate update; // one of our optimizers
  private final @Nullable Tensor updater; // the network's own, else
  private final Tensor progress = NativeMemory.numbers(PROGRESS_FIELDS);
  private boolean isFolderReady;

  /** All ranks make theirs together. */
  NetworkCheckpoints(
      TrainedNetwork network,
      Communicator ranks,
      Optional<TrainingOptions.Checkpoints> settings,
      @Nullable BucketSums compressed,
      @Nullable Arena arena,
      @Nullable FlatUpdate update)
      throws InterruptedException {
    this.network = network;
    this.ranks = ranks;
    this.settings = settings;
    this.residuals =
        compressed == null || arena == null
            ? null
            : new CompressionCheckpoint(
                ranks, arena, 1, 0, compressed.state().values(), compressed.commonState().values());
    this.parameters = NativeMemory.tensor(network.model().params(), NativeMemory::of);
    this.update = update;
    INDArray state = update == null ? network.updater().getStateViewArray() : null;
    this.updater = state == null ? null : NativeMemory.tensor(state, NativeMemory::of);
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
    TrainingOptions.Checkpoints where =
        settings.orElseThrow(
            () -> new IllegalStateException("TrainingOptions name no folder for checkpoints"));
    List<Tensor> gathered = new ArrayList<>();
    try {
      List<SafetensorsWriter.Entry> optimizer = new ArrayList<>();
      if (updater != null) {
        optimizer.add(new SafetensorsWriter.Entry(UPDATER, updater));
      }
      if (update != null) {
        optimizer.addAll(gatherState(update, gathered));
      }
      fields().put(network.iterations()).put(network.epochs()).put((double) batchesOfEpoch);
      optimizer.add(new SafetensorsWriter.Entry(PROGRESS, progress));
      if (residuals != null) {
        optimizer.addAll(residuals.gather(gathered));
      }
      if (ranks.rank() == 0) {
        write(where, optimizer);
      }
    } finally {
      gathered.forEach(Tensor::close);
    }
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
      long first = LongStream.of(counts).limit(ours.shardRank()).sum();
      try (Tensor whole = NativeMemory.floats(LongStream.of(counts).sum());
          Tensor own = whole.slice(0, first, kind.getValue().elementCount())) {
        file.read(kind.getKey(), whole);
        NativeMemory.copy(own, kind.getValue());
      }
    }
  }

  private DoubleBuffer fields() {
    return progress.byteBuffer(0, PROGRESS_FIELDS * Double.BYTES).asDoubleBuffer();
  }

  private void write(TrainingOptions.Checkpoints where, List<SafetensorsWriter.Entry> optimizer) {
    LocalCheckpointStore store = new LocalCheckpointStore(where.folder());
    CheckpointManifest manifest =
        new CheckpointManifest(
            network.iterations(),
            0,
            Long.MAX_VALUE,
            network.model().conf().getSeed(),
            ranks.size(),
            optimizerKind(),
            Optional.empty(),
            network.configuration(),
            List.of());
    List<SafetensorsWriter.Entry> model = new ArrayList<>();
    for (TrainedNetwork.Variable variable : network.variables()) {
      model.add(new SafetensorsWriter.Entry(variable.name(), view(variable)));
    }
    try {
      prepareFolder(store);
      store.save(
          manifest,
          model,
          optimizer,
          List.of(
              new LocalCheckpointStore.OtherFile(
                  NETWORK_FILE,
                  file -> ModelSerializer.writeModel(network.model(), file.toFile(), true))));
      store.keepNewest(where.keep());
    } catch (IOException e) {
      throw new CheckpointWriteException(
          "The folder " + where.folder() + " could not be tidied: " + e.getMessage(), e);
    } finally {
      model.forEach(entry -> entry.tensor().close());
    }
  }

  private String optimizerKind() {
    return update == null ? "deeplearning4j" : update.kind();
  }

  private Tensor view(TrainedNetwork.Variable variable) {
    return parameters
        .slice(0, variable.offset(), variable.count())
        .reshape(variable.shape().toArray());
  }

  /** A run that goes on from nothing does not mix with an earlier one. */
  private void prepareFolder(LocalCheckpointStore store) throws IOException {
    if (isFolderReady) {
      return;
    }
    Optional<Path> aside = store.setAside();
    aside.ifPresent(path -> LOGGER.warn("Checkpoints of an earlier run are now in {}", path));
    isFolderReady = true;
  }

  /**
   * Takes over what a checkpoint holds; all ranks call it together.
   *
   * @param from a checkpoint, or a folder whose newest one is taken
   * @return how many batches of the epoch are done; empty where there is no checkpoint
   */
  Optional<Long> restore(Path from) throws IOException, InterruptedException {
    Optional<Path> directory =
        Files.isRegularFile(from.resolve(CheckpointManifest.FILE))
            ? Optional.of(from)
            : new LocalCheckpointStore(from).newest();
    requireSameOnAllRanks(directory);
    if (directory.isEmpty()) {
      return Optional.empty();
    }
    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(directory.get())) {
      checkpoint.verify();
      requireSameNetwork(checkpoint);
      for (TrainedNetwork.Variable variable : network.variables()) {
        try (Tensor view = view(variable)) {
          checkpoint.model().read(variable.name(), view);
        }
      }
      if (updater != null) {
        checkpoint.optimizer().read(UPDATER, updater);
      }
      if (update != null) {
        restoreState(update, checkpoint.optimizer());
      }
      checkpoint.optimizer().read(PROGRESS, progress);
      restoreResiduals(checkpoint);
    }
    ranks.barrier().await(); // rank 0 tidies up the folder only when all have read
    if (ranks.rank() == 0) {
      prepareFolder(directory.get());
    }
    DoubleBuffer read = fields();
    network.setProgress((int) read.get(0), (int) read.get(1));
    return Optional.of((long) read.get(2));
  }

  private void requireSameOnAllRanks(Optional<Path> found) throws InterruptedException {
    double own =
        found
            .map(path -> Double.valueOf(path.getFileName().toString().replaceFirst("^step-", "")))
            .orElse(-1.0);
    double[] all = Numbers.ofAllRanks(ranks, own);
    for (int rank = 1; rank < all.length; rank++) {
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

  private void requireSameNetwork(SavedCheckpoint checkpoint) {
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
  }

  private void restoreResiduals(SavedCheckpoint checkpoint) throws IOException {
    SafetensorsFile file = checkpoint.optimizer();
    if (residuals != null && residuals.restore(file, true).residuals() && ranks.rank() == 0) {
      LOGGER.warn(
          "The residuals of gradient compression in {} are not those of this codec and {} ranks:"
              + " what they held is lost, once",
          checkpoint.directory(),
          ranks.size());
    }
  }

  private void prepareFolder(Path from) throws IOException {
    if (settings.isEmpty()) {
      return;
    }
    LocalCheckpointStore store = new LocalCheckpointStore(settings.get().folder());
    Path folder = from.toAbsolutePath().normalize().getParent();
    if (store.root().toAbsolutePath().normalize().equals(folder)) {
      store.cleanUp();
      Optional<Path> aside = store.setAsideAfter((long) fields().get(0));
      aside.ifPresent(path -> LOGGER.warn("Checkpoints of later steps are now in {}", path));
      isFolderReady = true;
    } else {
      prepareFolder(store);
    }
  }

  @Override
  public void close() {
    parameters.close();
    progress.close();
    if (updater != null) {
      updater.close();
    }
  }
}
