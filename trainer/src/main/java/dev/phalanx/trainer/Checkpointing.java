package dev.phalanx.trainer;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.checkpoint.CheckpointManifest;
import dev.phalanx.checkpoint.CheckpointSaver;
import dev.phalanx.checkpoint.LocalCheckpointStore;
import dev.phalanx.checkpoint.SavedCheckpoint;
import dev.phalanx.checkpoint.safetensors.SafetensorsFile;
import dev.phalanx.checkpoint.safetensors.SafetensorsWriter;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.parallelism.expert.Mixture;
import dev.phalanx.sharding.ParameterSource;
import dev.phalanx.sharding.WholeTensors;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Device;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigWriter;
import dev.phalanx.trainer.model.TransformerConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * When a job saves and from where it goes on. Rank 0 writes whole tensors, whatever the layout, and
 * all read what they hold of them.
 */
final class Checkpointing implements AutoCloseable {
  private static final Logger LOGGER = LoggerFactory.getLogger(Checkpointing.class);

  private final JobConfig config;
  private final RankContext context;
  private final Engine engine;
  private final HostNumbers agreed;
  private final TrainingState state;
  private final DataIdentity data;
  private final JobListener listener;
  private final @Nullable LocalCheckpointStore store;
  private final @Nullable Arena snapshots;
  private final @Nullable CheckpointSaver saver;
  private final CheckpointWriting writing;
  private final Arena host;
  private final Device device;
  private final List<Tensor> gathered = new ArrayList<>(); // being copied or written
  private final CompressionCheckpoint compression;
  private final ModelParts parts;
  private Optional<Path> restored = Optional.empty();

  private Checkpointing(
      JobConfig config,
      RankContext context,
      Arenas arenas,
      RankGroups groups,
      TrainingState state,
      DataIdentity data,
      JobListener listener)
      throws InterruptedException {
    this.config = config;
    this.context = context;
    this.engine = arenas.engine();
    this.host = arenas.host();
    this.device = arenas.device();
    this.agreed = new HostNumbers(arenas.host(), 1);
    this.state = state;
    this.data = data;
    this.listener = listener;
    this.parts = state.parts(groups, arenas.host());
    this.compression = CompressionCheckpoint.of(groups, host, state.memory());
    JobConfig.Checkpoint settings = config.checkpoint().orElse(null);
    if (settings == null || context.rank() != 0) {
      this.store = null;
      this.snapshots = null;
      this.saver = null;
    } else {
      this.store = new LocalCheckpointStore(context.baseDirectory().resolve(settings.dir()));
      boolean isCopied = settings.async() || !arenas.device().isCpu();
      this.snapshots = isCopied ? new Arena(engine, Device.CPU) : null;
      this.saver = new CheckpointSaver(store, settings.keep(), snapshots, this::published);
    }
    this.writing =
        new CheckpointWriting(
            context.world(),
            count -> host.allocate(DType.UINT8, count),
            saver,
            config.communication().timeout().dividedBy(4));
  }

  /**
   * @param config with a complete model section, which is what checkpoints keep
   */
  static Checkpointing open(
      JobConfig config,
      RankContext context,
      Arenas arenas,
      RankGroups groups,
      TrainingState state,
      DataIdentity data,
      JobListener listener)
      throws InterruptedException {
    return new Checkpointing(config, context, arenas, groups, state, data, listener);
  }

  private void published(Path directory) {
    long step = Long.parseLong(directory.getFileName().toString().replaceFirst("^step-", ""));
    listener.checkpointSaved(step, directory);
  }

  /**
   * Makes ready for saving and goes on from a checkpoint where one is asked for. Checkpoints of an
   * earlier run that this one does not go on from are set aside, never overwritten.
   *
   * @param from a checkpoint, or a folder of checkpoints; if that is the plan's own and holds none
   *     yet, the job begins anew
   * @return the steps that are done
   */
  long restore(Optional<Path> from) throws IOException, InterruptedException {
    if (store != null) {
      writing.claim(store);
      store.cleanUp();
    }
    context.world().barrier().await(); // nobody looks before rank 0 has tidied up
    if (from.isPresent()) {
      restored = ResumePoint.find(config, context, from.get());
    }
    long step = restored.isPresent() ? load(restored.get()) : 0;
    requireSameOnAllRanks(step); // all have read what is there: now it may be moved
    if (restored.isPresent()) {
      setAsideWhatIsNotGoneOnFrom(restored.get(), step);
      listener.resumed(step, restored.get());
    } else if (from.isEmpty()) {
      setAsideEarlierRun();
    }
    return step;
  }

  private void requireSameOnAllRanks(long step) throws InterruptedException {
    long least = (long) agree(step, ReduceOperation.MINIMUM);
    long most = (long) agree(step, ReduceOperation.MAXIMUM);
    if (least != most) {
      throw new BadCheckpointException(
          "Rank "
              + context.rank()
              + " found the checkpoint of step "
              + step
              + ", but ranks found those of steps "
              + least
              + " to "
              + most
              + ". Name one checkpoint that every rank sees: --resume DIR/step-...");
    }
  }

  private double agree(double own, ReduceOperation operation) throws InterruptedException {
    agreed.set(0, own);
    agreed.allReduce(context.world(), operation).await();
    return agreed.get(0);
  }

  private void setAsideWhatIsNotGoneOnFrom(Path from, long step) throws IOException {
    if (store == null) {
      return;
    }
    boolean isOwn = ResumePoint.isIn(from, store.root());
    Optional<Path> aside = isOwn ? store.setAsideAfter(step) : store.setAside();
    if (aside.isPresent()) {
      LOGGER.warn(
          "Going on from {}: checkpoints of another run or of later steps are now in {}",
          from,
          aside.get());
    }
  }

  private void setAsideEarlierRun() throws IOException {
    if (store != null) {
      Optional<Path> aside = store.setAside();
      if (aside.isPresent()) {
        LOGGER.warn(
            "This is a new run: the checkpoints of an earlier one are now in {}. To go on from them"
                + " instead, start with --resume {}",
            aside.get(),
            aside.get());
      }
    }
  }

  private long load(Path directory) throws IOException {
    try (SavedCheckpoint checkpoint = SavedCheckpoint.open(directory)) {
      requireFit(checkpoint);
      checkpoint.verify();
      for (Map.Entry<String, Tensor> kind : state.optimizer().state().entrySet()) {
        state
            .memory()
            .loadState(kind.getValue(), source(checkpoint.optimizer(), kind.getKey() + "."));
      }
      if (checkpoint.optimizer().names().contains(LossScaler.SAVED_AS)) {
        checkpoint.optimizer().read(LossScaler.SAVED_AS, state.lossScaler().saved(), engine);
        state.lossScaler().loaded();
      }
      state.memory().load(source(checkpoint.model(), ""));
      restoreCompression(checkpoint);
      return checkpoint.manifest().step();
    }
  }

  /** Residuals of other elements or of other ranks are lost, once. */
  private void restoreCompression(SavedCheckpoint checkpoint) throws IOException {
    JobConfig saved = SavedModels.plan(checkpoint);
    JobConfig.Compression here = config.communication().compression();
    JobConfig.Compression there = saved.communication().compression();
    CompressionCheckpoint.Lost lost =
        compression.restore(
            checkpoint.optimizer(), here.getClass() == there.getClass(), isSamePlan(saved));
    if (here instanceof JobConfig.Compression.OneBit oneBit && lost.isCommonNew()) {
      requireWarmUp(checkpoint, oneBit);
    }
    if (context.rank() == 0 && lost.residuals()) {
      LOGGER.warn(
          "The residuals of gradient compression in {} are not those of this plan and {} ranks:"
              + " what they held is lost, once",
          checkpoint.directory(),
          context.worldSize());
    }
    if (context.rank() == 0 && lost.common()) {
      LOGGER.warn(
          "What gradient compression in {} had learned is not that of this plan: it starts anew",
          checkpoint.directory());
    }
  }

  /** Of checkpoints that do not say themselves which elements were compressed where. */
  private boolean isSamePlan(JobConfig saved) {
    return saved.parallel().equals(config.parallel())
        && saved.sharding().equals(config.sharding())
        && saved.communication().bucketMb() == config.communication().bucketMb();
  }

  /**
   * After its warm-up 1-bit Adam goes on from first moments, and from a variance, that the warm-up
   * has left. Where one rank compresses nothing it has none, and goes on to change the variance.
   */
  private void requireWarmUp(SavedCheckpoint checkpoint, JobConfig.Compression.OneBit here) {
    long done = checkpoint.manifest().step() - state.lossScaler().skippedSteps();
    if (done >= here.warmupSteps()) {
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " is of update "
              + done
              + ", when the warm-up of compression onebit, "
              + here.warmupSteps()
              + " steps, would be over, and has no moments of it for the buckets of this plan: it"
              + " was trained without onebit, on one rank, with another sharding, parallel or"
              + " bucket_mb, or by another version of Phalanx. Write"
              + " communication.compression.warmup_steps: "
              + (done + 100)
              + ", or another kind of compression.");
    }
  }

  private ParameterSource source(SafetensorsFile file, String prefix) {
    return (parameter, first, rows) ->
        file.readRows(
            prefix + parameter.name(), parameter.partition().whole(), first, rows, engine);
  }

  /** What must be as it was, or the job that goes on would be another one. */
  private void requireFit(SavedCheckpoint checkpoint) {
    CheckpointManifest manifest = checkpoint.manifest();
    JobConfig saved = SavedModels.plan(checkpoint);
    if (manifest.samples() != manifest.step() * saved.batch().global()) {
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " is damaged: after step "
              + manifest.step()
              + " of "
              + saved.batch().global()
              + " samples each it names "
              + manifest.samples()
              + " samples. Take an older checkpoint or copy it again.");
    }
    TransformerConfig here = ModelSetup.sizes(config.transformer(), config.transformer().vocab());
    TransformerConfig there = SavedModels.config(checkpoint);
    requireSame(checkpoint, "model.family", there.family(), here.family());
    requireSame(checkpoint, "model.layers", there.layers(), here.layers());
    requireSame(checkpoint, "model.hidden", there.hidden(), here.hidden());
    requireSame(checkpoint, "model.heads", there.heads(), here.heads());
    requireSame(checkpoint, "model.kv_heads", there.keyValueHeads(), here.keyValueHeads());
    requireSame(checkpoint, "model.ffn_hidden", there.feedForward(), here.feedForward());
    requireSame(checkpoint, "model.sequence", there.sequence(), here.sequence());
    requireSame(checkpoint, "model.vocab", there.vocabulary(), here.vocabulary());
    requireSame(checkpoint, "model.tied_embeddings", there.isTied(), here.isTied());
    requireSame(checkpoint, "model.norm_eps", there.normEpsilon(), here.normEpsilon());
    requireSame(checkpoint, "model.rope_theta", there.rotaryBase(), here.rotaryBase());
    requireSame(checkpoint, "model.rope_scaling", there.rotaryScaling(), here.rotaryScaling());
    requireSame(checkpoint, "model.experts.count", experts(there), experts(here));
    requireSame(checkpoint, "model.experts.top_k", perToken(there), perToken(here));
    requireSame(checkpoint, "optimizer.kind", manifest.optimizer(), optimizerKind());
    requireMomenta(checkpoint, saved);
    requireSame(checkpoint, "seed", manifest.seed(), config.seed());
    requireSame(checkpoint, "batch.global", saved.batch().global(), config.batch().global());
    requireSameData(checkpoint, saved);
  }

  /** Momentum begins with the job; without it there is nothing to keep. */
  private void requireMomenta(SavedCheckpoint checkpoint, JobConfig saved) {
    if (config.optimizer().algorithm() instanceof JobConfig.Optimizer.Sgd here
        && saved.optimizer().algorithm() instanceof JobConfig.Optimizer.Sgd there
        && there.momentum() == 0) {
      requireSame(checkpoint, "optimizer.momentum", there.momentum(), here.momentum());
    }
  }

  private static int experts(TransformerConfig model) {
    return model.mixture().map(Mixture::experts).orElse(0);
  }

  private static int perToken(TransformerConfig model) {
    return model.mixture().map(Mixture::perToken).orElse(0);
  }

  /** A place in the order of samples means something only in the same data. Its path may change. */
  private void requireSameData(SavedCheckpoint checkpoint, JobConfig saved) {
    CheckpointManifest manifest = checkpoint.manifest();
    requireSame(checkpoint, "data.seed", saved.data().seed(), config.data().seed());
    requireSame(
        checkpoint,
        "data.tokenizer",
        manifest.tokenizer().orElse("none"),
        data.tokenizer().orElse("none"));
    if (manifest.samplesPerEpoch() != data.samplesPerEpoch()) {
      requireSameHeldOut(checkpoint, saved.evaluation(), config.evaluation());
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " does not fit the data: it was trained on "
              + samples(manifest.samplesPerEpoch())
              + ", and the plan's data has "
              + samples(data.samplesPerEpoch())
              + ". Give it the same file and evaluation.fraction as before, or start anew without"
              + " --resume.");
    }
  }

  /** Without evaluations nothing is held out, whatever the fraction. */
  private static void requireSameHeldOut(
      SavedCheckpoint checkpoint, JobConfig.Evaluation there, JobConfig.Evaluation here) {
    if ((there.every() == 0) != (here.every() == 0)) {
      requireSame(checkpoint, "evaluation.every", there.every(), here.every());
    } else if (there.every() > 0) {
      requireSame(checkpoint, "evaluation.fraction", there.fraction(), here.fraction());
    }
  }

  private static String samples(long perEpoch) {
    return perEpoch == Long.MAX_VALUE
        ? "samples that never repeat"
        : perEpoch + " training samples";
  }

  private static void requireSame(
      SavedCheckpoint checkpoint, String key, Object there, Object here) {
    if (!there.equals(here)) {
      throw new BadCheckpointException(
          "The checkpoint "
              + checkpoint.directory()
              + " does not fit the plan: "
              + key
              + " was "
              + label(there)
              + " and is "
              + label(here)
              + " now. Write "
              + key
              + ": "
              + label(there)
              + ", or start anew without --resume.");
    }
  }

  private static String label(Object value) {
    return value instanceof Enum<?> choice
        ? choice.name().toLowerCase(Locale.ROOT)
        : value.toString();
  }

  private String optimizerKind() {
    return config.optimizer().algorithm().kind();
  }

  /** Begins to save, in a plan that has a folder for checkpoints. */
  void save(long done) throws InterruptedException {
    JobConfig.Checkpoint settings = config.checkpoint().orElseThrow();
    awaitSaved(); // the one before
    List<SafetensorsWriter.Entry> model = gather("", state.memory().wholeMaster(host));
    List<SafetensorsWriter.Entry> optimizer = new ArrayList<>();
    for (Map.Entry<String, Tensor> kind : state.optimizer().state().entrySet()) {
      optimizer.addAll(
          gather(kind.getKey() + ".", state.memory().wholeState(kind.getValue(), host)));
    }
    optimizer.addAll(compression.gather(gathered));
    if (state.lossScaler().isToBeSaved()) {
      Tensor scaling = state.lossScaler().saved();
      optimizer.add(new SafetensorsWriter.Entry(LossScaler.SAVED_AS, scaling));
    }
    CheckpointSaver saving = saver;
    if (saving != null) {
      engine.synchronize(device);
      saving.start(manifest(done), model, optimizer);
    }
    if (snapshots != null || saving == null) {
      releaseGathered(); // it is copied, or not this rank's to write
    }
    if (!settings.async()) {
      awaitSaved();
    }
  }

  private void awaitSaved() throws InterruptedException {
    writing.awaitWritten();
    releaseGathered();
  }

  private CheckpointManifest manifest(long done) {
    return new CheckpointManifest(
        done,
        done * config.batch().global(),
        data.samplesPerEpoch(),
        config.seed(),
        context.worldSize(),
        optimizerKind(),
        data.tokenizer(),
        JobConfigWriter.toYaml(config),
        List.of());
  }

  /** On rank 0 every parameter's whole tensor; where ranks hold parts, they send them there. */
  private List<SafetensorsWriter.Entry> gather(String prefix, Optional<WholeTensors> whole)
      throws InterruptedException {
    return parts.gather(prefix, whole, gathered);
  }

  private void releaseGathered() {
    gathered.forEach(Tensor::close);
    gathered.clear();
  }

  /** Waits until everything is on disk. */
  void finish() throws InterruptedException {
    if (config.checkpoint().isPresent()) {
      awaitSaved();
    }
  }

  /** The newest checkpoint of this run, which may be the one that it went on from. */
  Optional<Path> newest() {
    return saver == null ? Optional.empty() : saver.newest().or(() -> restored);
  }

  @Override
  public void close() {
    if (saver != null) {
      saver.close();
    }
    if (snapshots != null) {
      snapshots.close();
    }
    if (store != null) {
      store.close();
    }
  }
}
