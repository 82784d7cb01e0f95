package dev.phalanx.deeplearning4j;

import dev.phalanx.checkpoint.BadCheckpointException;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.sharding.BucketSums;
import dev.phalanx.sharding.compression.CompressionStatistics;
import dev.phalanx.tensor.Engine;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.FamilyRehearsal;
import dev.phalanx.trainer.GradientCompression;
import dev.phalanx.trainer.JobListener;
import dev.phalanx.trainer.JobSummary;
import dev.phalanx.trainer.NotFiniteException;
import dev.phalanx.trainer.RankContext;
import dev.phalanx.trainer.ResumePoint;
import dev.phalanx.trainer.StepOutcome;
import dev.phalanx.trainer.TrainedModel;
import dev.phalanx.trainer.Unit;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.LearningRateSchedule;
import dev.phalanx.trainer.data.DataException;
import dev.phalanx.trainer.rehearsal.RehearsalGroups;
import dev.phalanx.trainer.rehearsal.SentOperations;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.BooleanSupplier;
import java.util.function.IntToDoubleFunction;
import org.deeplearning4j.nn.api.Model;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A plan's network in training on one rank. An epoch is a shuffle of all training samples; its last
 * batch has what is left of them.
 *
 * <pre>
 *   step s:   epoch s / batches, batch s % batches   (batches of an epoch)
 *             | share of rank 0 | share of rank 1 | ...
 * </pre>
 */
final class NetworkTraining implements TrainedModel, AutoCloseable {
  private static final String ADVICE =
      ", so training has stopped before the update. Lower the learning rate, or go on from an"
          + " earlier checkpoint with --resume.";

  /** After which ND4J's workspaces, which learn their sizes, have been seen to keep them. */
  private static final int STEPS_UNTIL_SETTLED = 5;

  private final JobConfig job;
  private final RankContext context;
  private final JobListener listener;
  private final TrainedNetwork network;
  private final NetworkData.Normalized data;
  private final PlannedOrder planned;
  private final DataParallelNetwork<Model> rank;
  private final int batch; // samples of all ranks
  private final long batchesOfEpoch;
  private final LearningRateSchedule schedule; // of our optimizers
  private final OptionalDouble clipNorm;
  private final int iterationsBefore; // of the job's first step
  private int[] order = {}; // of the epoch that is under way
  private boolean isInEpoch;
  private boolean isRehearsed; // what becomes of the numbers is of no matter
  private int samplesOfStep; // of all ranks
  private double loss; // of the last batch
  private double gradientNorm;
  private Optional<Path> restored = Optional.empty();

  /**
   * All ranks make theirs together.
   *
   * @param engines of what compresses and updates
   * @throws DataException where the network and the data do not fit
   */
  NetworkTraining(
      JobConfig job,
      RankContext context,
      JobListener listener,
      Model model,
      NetworkData data,
      DataParallelNetwork.EngineSource engines)
      throws InterruptedException {
    this.job = job;
    this.context = context;
    this.listener = listener;
    this.network = NetworkFit.trained(model);
    this.data = NetworkFit.fitting(network, data.normalized());
    this.batch = Math.toIntExact(job.batch().global());
    this.batchesOfEpoch = (data.training().count() + (long) batch - 1) / batch;
    this.schedule = LearningRateSchedule.of(job.optimizer());
    this.clipNorm = job.optimizer().clipGradNorm();
    this.iterationsBefore = network.iterations();
    this.planned = PlannedOrder.of(this.data.training(), batch, data.seed(), iterationsBefore);
    TrainingOptions options = options();
    NetworkFit.require(network, options);
    requireSameOnAllRanks();
    this.rank = DataParallelNetwork.of(model, context.world(), options, engines, planned);
    rank.reducer().watch(this::gradientsAreSeen);
  }

  /** A rank of another host may have other files. */
  private void requireSameOnAllRanks() throws InterruptedException {
    double[] found = Numbers.ofAllRanks(context.world(), (double) planned.data());
    for (int other = 1; other < found.length; other++) {
      if (found[other] != found[0]) {
        throw DataException.plan(
            "data",
            String.format(
                "the training samples of rank 0 and rank %d are not the same: their checksums are"
                    + " %08x and %08x; give every host the same files",
                other, (long) found[0], (long) found[other]));
      }
    }
  }

  private TrainingOptions options() {
    return new TrainingOptions(
        GradientCompression.of(job.communication().compression(), job.optimizer().algorithm()),
        job.checkpoint()
            .map(
                settings ->
                    new TrainingOptions.Checkpoints(
                        context.baseDirectory().resolve(settings.dir()), 0, settings.keep())),
        optimizer(),
        data.normalizer());
  }

  /** Empty where the network's own updater updates. */
  private Optional<NetworkOptimizer> optimizer() {
    IntToDoubleFunction rate = iteration -> schedule.at(iteration - iterationsBefore);
    double weightDecay = job.optimizer().weightDecay();
    JobConfig.Optimizer.Rule rule = job.optimizer().algorithm();
    Optional<NetworkOptimizer> ours = Optional.empty();
    if (rule instanceof JobConfig.Optimizer.AdamW adamW) {
      ours =
          Optional.of(
              NetworkOptimizer.adamW(
                  rate, adamW.beta1(), adamW.beta2(), adamW.epsilon(), weightDecay));
    } else if (rule instanceof JobConfig.Optimizer.Lamb lamb) {
      ours =
          Optional.of(
              NetworkOptimizer.lamb(rate, lamb.beta1(), lamb.beta2(), lamb.epsilon(), weightDecay));
    } else if (rule instanceof JobConfig.Optimizer.Sgd sgd) {
      ours = Optional.of(NetworkOptimizer.sgd(rate, sgd.momentum(), sgd.nesterov(), weightDecay));
    }
    return job.sharding().zero() == 1 ? ours.map(NetworkOptimizer::sharded) : ours;
  }

  /**
   * Goes on from a checkpoint where one is asked for.
   *
   * @return the steps that are done
   */
  long restore(Optional<Path> from) throws IOException, InterruptedException {
    Optional<Path> found =
        from.isPresent() ? ResumePoint.find(job, context, from.get()) : Optional.empty();
    // Where one rank finds none, all say so together.
    if (from.isEmpty() || !rank.resume(found.orElse(from.get()))) {
      rank.beginCheckpoints();
      return 0;
    }
    long done = (long) network.iterations() - iterationsBefore;
    if (done < 0) {
      throw new BadCheckpointException(
          "The checkpoint "
              + found.orElse(from.get())
              + " is of iteration "
              + network.iterations()
              + ", and the network of model.path has done "
              + iterationsBefore
              + " before. Name the network that the checkpoint's job began with, or start anew"
              + " without --resume.");
    }
    restored = found;
    listener.resumed(done, found.orElse(from.get()));
    return done;
  }

  /** What the job's last step sends, among ranks that are pretended. */
  FamilyRehearsal rehearse() throws InterruptedException {
    isRehearsed = true;
    for (int step = 0; step < STEPS_UNTIL_SETTLED; step++) {
      step(0, () -> false);
    }
    SentOperations before = sent();
    network.setProgress( // codecs go by it, which may send whole gradients at first
        Math.toIntExact(iterationsBefore + Math.max(1, job.steps() - 1)), network.epochs());
    step(1, () -> false);
    return new FamilyRehearsal(
        network.model().numParams(), network.precision(), memory(), sent().without(before));
  }

  private SentOperations sent() {
    return RehearsalGroups.sent(List.of(context.world()));
  }

  JobSummary summary(Engine engine, long done) {
    return new JobSummary(
        job.name(),
        context.worldSize(),
        job.model().family().label(),
        network.model().numParams(),
        engine.name(),
        engine.description(),
        network.precision(),
        Unit.SAMPLES,
        batch,
        done + 1,
        job.steps());
  }

  @Override
  public StepOutcome step(long step, BooleanSupplier stopRequested) throws InterruptedException {
    int place = (int) (step % batchesOfEpoch);
    if (!isInEpoch) {
      order = data.training().order(planned.seed(), Math.toIntExact(step / batchesOfEpoch));
      rank.beginEpoch();
      isInEpoch = true;
    }
    int first = place * batch;
    int samples = Math.min(batch, order.length - first);
    int from = (int) Shares.first(samples, context.rank(), context.worldSize());
    int own = (int) Shares.first(samples, context.rank() + 1, context.worldSize()) - from;
    // A rank without a sample computes one that is not counted.
    int[] share =
        own == 0
            ? new int[] {order[first]}
            : Arrays.copyOfRange(order, first + from, first + from + own);
    double learningRate = learningRate(step);
    samplesOfStep = samples;
    rank.reducer().vote(stopRequested.getAsBoolean());
    // What is in memory is read in less time than another thread would take to wake up for it.
    try (Batch read = new Batch(data.training().read(share))) {
      rank.fitShare(read.samples().toMultiDataSet(), own, samples);
    }
    if (place == batchesOfEpoch - 1) {
      rank.endEpoch();
      isInEpoch = false;
    }
    return new StepOutcome(
        loss,
        gradientNorm,
        learningRate,
        samples,
        OptionalDouble.empty(),
        OptionalDouble.empty(),
        false,
        rank.reducer().votes() > 0);
  }

  private double learningRate(long step) {
    return job.optimizer().algorithm() instanceof JobConfig.Optimizer.OfNetwork
        ? network.learningRate()
        : schedule.at(step);
  }

  /** Before anything is updated. */
  private double gradientsAreSeen(double norm) {
    loss = network.loss(network.model().score(), samplesOfStep);
    if (!isRehearsed && (!Double.isFinite(loss) || !Double.isFinite(norm))) {
      throw new NotFiniteException(
          "Step "
              + (network.iterations() - iterationsBefore + 1)
              + " has loss "
              + loss
              + " and gradient norm "
              + norm
              + ADVICE);
    }
    gradientNorm = norm;
    return clipNorm.isPresent() ? Math.min(1, clipNorm.getAsDouble() / (norm + 1e-6)) : 1;
  }

  @Override
  public Optional<Evaluation> evaluate() throws InterruptedException {
    if (data.heldOut().isEmpty()) {
      return Optional.empty();
    }
    Samples samples = data.heldOut().get();
    long most = job.evaluation().batches() * batch;
    int count = most == 0 ? samples.count() : (int) Math.min(most, samples.count());
    int end = (int) Shares.first(count, context.rank() + 1, context.worldSize());
    double losses = 0;
    double right = 0;
    int atOnce = (batch + context.worldSize() - 1) / context.worldSize(); // as a step
    int first = (int) Shares.first(count, context.rank(), context.worldSize());
    while (first < end) {
      int size = Math.min(atOnce, end - first);
      try (Batch part = new Batch(samples.read(NetworkData.numbers(first, size)))) {
        losses += size * network.loss(network.score(part.samples()), size);
        if (!samples.classes().isEmpty()) {
          INDArray output = network.output(part.samples().getFeatures());
          right += NetworkFit.right(output, part.samples().getLabels());
        }
      }
      first += size;
    }
    double lossOfAll = Arrays.stream(Numbers.ofAllRanks(context.world(), losses)).sum();
    double rightOfAll = Arrays.stream(Numbers.ofAllRanks(context.world(), right)).sum();
    return Optional.of(
        new Evaluation(
            lossOfAll / count,
            count,
            samples.classes().isEmpty()
                ? OptionalDouble.empty()
                : OptionalDouble.of(rightOfAll / count)));
  }

  @Override
  public void save(long done) throws InterruptedException {
    rank.saveCheckpoint();
    rank.newestCheckpoint().ifPresent(directory -> listener.checkpointSaved(done, directory));
  }

  @Override
  public void finish() {
    // each checkpoint is on disk when it is saved
  }

  @Override
  public Optional<Path> newestCheckpoint() {
    return rank.newestCheckpoint().or(() -> restored);
  }

  @Override
  public Memory memory() {
    long width = network.model().params().dataType().width();
    long parameters = network.model().numParams() * width;
    return new Memory(
        parameters, parameters, rank.optimizerBytes(), workspaceBytes() + rank.workingBytes());
  }

  /** What this thread's layers keep between forward and backward, and what they work with. */
  private static long workspaceBytes() {
    return Nd4j.getWorkspaceManager().getAllWorkspacesForCurrentThread().stream()
        .mapToLong(workspace -> workspace.getCurrentSize())
        .sum();
  }

  @Override
  public double waitedMillis() {
    return rank.waitedMillis();
  }

  @Override
  public Map<Axis, Traffic> traffic() {
    return Map.of(Axis.DATA, context.world().traffic());
  }

  @Override
  public @Nullable CompressionStatistics compression() {
    BucketSums compressed = rank.reducer().compressed();
    return compressed == null ? null : compressed.statistics().orElse(null);
  }

  @Override
  public void abandon() {
    // the world is all that there is, and the loop closes it
  }

  @Override
  public void close() {
    rank.close();
    network.model().close();
  }
}
