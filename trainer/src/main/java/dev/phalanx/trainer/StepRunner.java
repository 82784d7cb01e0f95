package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Work;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.parallelism.expert.Mixture;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.sharding.NotFiniteGradientException;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.LearningRateSchedule;
import dev.phalanx.trainer.data.BatchPartition;
import dev.phalanx.trainer.data.BatchSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;

/**
 * Runs optimizer steps: forward and backward of this rank's micro-batches, the sum of gradients
 * over the data-parallel ranks on the way, clipping, the update.
 *
 * <p>Each token's loss is divided by the tokens of the <em>global</em> batch before the backward
 * pass, so that the sum over ranks and micro-batches is the gradient of the mean, however the batch
 * is divided, and though ranks may have unequal shares of it.
 */
final class StepRunner {
  private static final String ADVICE =
      ", so training has stopped before the update. Lower optimizer.lr, set"
          + " optimizer.clip_grad_norm, or go on from an earlier checkpoint with --resume.";

  private static final int LOSS = 0;
  private static final int STOP_VOTES = 1;
  private static final int EXPERT_LOADS = 2; // and all that follow

  private final Engine engine;
  private final Arena stepArena;
  private final TrainingState state;
  private final RankGroups groups;
  private final List<Tensor> gradients; // what this rank counts of their sums
  private final BatchSource samples;
  private final BatchPartition partition;
  private final LearningRateSchedule schedule;
  private final OptionalDouble clipNorm;
  private final long dropoutSeed;
  private final HostNumbers sums; // what all ranks add up: loss, votes for a stop, experts' tokens
  private final double[] expertLoads; // [layers * experts]
  private final HostNumbers fetched;
  private final Waiting waiting = new Waiting();
  private final Tensor lossSum; // [1] FLOAT64, as the next two
  private final Tensor microBatchLoss; // [1]
  private final List<Tensor> squaredNorms = new ArrayList<>(); // of each of the gradients, [1]

  StepRunner(
      Arenas arenas,
      TrainingState state,
      RankGroups groups,
      BatchSource samples,
      BatchPartition partition,
      JobConfig job) {
    this.engine = arenas.engine();
    this.stepArena = arenas.step();
    this.state = state;
    this.groups = groups;
    this.samples = samples;
    this.partition = partition;
    this.schedule = LearningRateSchedule.of(job.optimizer());
    this.clipNorm = job.optimizer().clipGradNorm();
    this.dropoutSeed = CounterRandom.at(job.seed(), 1);
    this.gradients = state.memory().countedGradients();
    this.expertLoads =
        new double
            [state.modelConfig().layers()
                * state.modelConfig().mixture().map(Mixture::experts).orElse(0)];
    this.sums = new HostNumbers(arenas.host(), EXPERT_LOADS + expertLoads.length);
    this.fetched = new HostNumbers(arenas.host(), 1);
    this.lossSum = arenas.state().allocate(DType.FLOAT64, 1);
    this.microBatchLoss = arenas.state().allocate(DType.FLOAT64, 1);
    for (Tensor part : gradients) { // which may be on the host, with the optimizer's state
      boolean isOnDevice = part.device().equals(arenas.device());
      squaredNorms.add((isOnDevice ? arenas.state() : arenas.host()).allocate(DType.FLOAT64, 1));
    }
  }

  /**
   * Runs one step and changes the parameters, unless gradients are too large for fp16 because of
   * the loss's scale, which is then lowered.
   *
   * @param step from 0
   * @param stopRequested whether this rank wants the job to stop, asked when the backward pass is
   *     done
   * @throws NotFiniteException where the loss or the gradient is none; the parameters are then
   *     unchanged
   */
  StepOutcome run(long step, BooleanSupplier stopRequested) throws InterruptedException {
    try {
      sumGradients(step, stopRequested);
    } catch (NotFiniteGradientException e) {
      throw new NotFiniteException("In step " + (step + 1) + " " + e.getMessage() + ADVICE);
    }

    double loss = sums.get(LOSS) * tokenWeight();
    LossScaler scaler = state.lossScaler();
    OptionalDouble lossScale = scaler.reported();
    double scale = scaler.scale();
    double norm = gradientNorm() / scale;
    double learningRate = schedule.at(step);
    boolean isSkipped = scaler.isDynamic() && Double.isFinite(loss) && !Double.isFinite(norm);
    if (isSkipped) {
      scaler.skipped(step + 1);
    } else {
      requireFinite(step, loss, norm);
      state.optimizer().step(update(step), learningRate, clipFactor(norm) / scale);
      scaler.succeeded();
    }
    boolean stopIsRequested = sums.get(STOP_VOTES) > 0;
    return new StepOutcome(
        loss, norm, learningRate, tokens(), lossScale, expertLoad(), isSkipped, stopIsRequested);
  }

  /** The number, from 1, of the update that a step is to make: skipped steps have made none. */
  private long update(long step) {
    return step + 1 - state.lossScaler().skippedSteps();
  }

  /** And the loss, and the votes for a stop. */
  private void sumGradients(long step, BooleanSupplier stopRequested) throws InterruptedException {
    state.memory().beginStep(update(step));
    engine.fill(lossSum, 0);
    runPasses(step);
    sums.fetch(LOSS, lossSum);
    if (!groups.countsLosses()) {
      sums.set(LOSS, 0);
    }
    sums.set(STOP_VOTES, stopRequested.getAsBoolean() ? 1 : 0);
    state.models().forEach(model -> model.takeExpertLoads(expertLoads));
    for (int i = 0; i < expertLoads.length; i++) {
      sums.set(EXPERT_LOADS + i, expertLoads[i]);
    }
    Work sumsOfAllRanks = sums.allReduce(groups.world(), ReduceOperation.SUM);
    state.memory().finishGradients();
    waiting.await(sumsOfAllRanks::await);
  }

  /** Forward and backward passes of all micro-batches; the last ones begin the sums over ranks. */
  private void runPasses(long step) {
    StagePasses passes =
        new StagePasses(
            state,
            stepArena,
            Math.toIntExact(partition.microBatches()),
            new StagePasses.Setup(
                samplesOf(step),
                tokenWeight() * state.lossScaler().scale(),
                CounterRandom.at(dropoutSeed, step),
                true,
                this::addLosses));
    // Where this fails, what is open stays until the arenas are closed: ranks may be writing there.
    state.pipeline().run(passes);
  }

  private void addLosses(Tensor losses) {
    engine.sum(losses, microBatchLoss);
    engine.addScaled(1, microBatchLoss, lossSum);
  }

  private StagePasses.Samples samplesOf(long step) {
    return new StagePasses.Samples() {
      @Override
      public int count(int microBatch) {
        return partition.samples(microBatch);
      }

      @Override
      public void fill(int microBatch, int sequences, long[] inputs, long[] targets) {
        samples.fill(partition.firstSample(step, microBatch), sequences, inputs, targets);
      }

      @Override
      public long firstSequence(int microBatch) {
        return partition.firstSample(step, microBatch) - partition.samplesBefore(step);
      }
    };
  }

  /** Of the busiest expert; ranks that see the same tokens have all counted them. */
  private OptionalDouble expertLoad() {
    int layers = state.modelConfig().layers();
    int experts = expertLoads.length / layers;
    OptionalDouble largest = OptionalDouble.empty();
    for (int layer = 0; layer < layers && experts > 0; layer++) {
      double all = 0;
      double most = 0;
      for (int expert = 0; expert < experts; expert++) {
        double load = sums.get(EXPERT_LOADS + layer * experts + expert);
        all += load;
        most = Math.max(most, load);
      }
      double load = most * experts / Math.max(1, all);
      largest = OptionalDouble.of(Math.max(load, largest.orElse(0)));
    }
    return largest;
  }

  /** What one token's loss counts in the mean. */
  private double tokenWeight() {
    return 1.0 / (double) tokens();
  }

  /** Of the global batch. */
  private long tokens() {
    return Math.multiplyExact(partition.globalBatch(), samples.sequence());
  }

  /** Over all parameters of the model, each element counted once, whoever holds it. */
  private double gradientNorm() throws InterruptedException {
    for (int i = 0; i < gradients.size(); i++) {
      engine.squaredNorm(gradients.get(i), squaredNorms.get(i));
    }
    double squared = 0;
    for (int i = 0; i < gradients.size(); i++) {
      squared += fetched.fetch(0, squaredNorms.get(i));
    }
    for (Communicator holders : holdersOfTheRest()) {
      fetched.set(0, squared);
      waiting.await(fetched.allReduce(holders, ReduceOperation.SUM)::await);
      squared = fetched.get(0);
    }
    return Math.sqrt(squared);
  }

  /** Groups over which what this rank counts adds up to the model, one after the other. */
  private List<Communicator> holdersOfTheRest() {
    return Stream.of(
            state.memory().shardGroup(),
            groups.along(Axis.TENSOR),
            groups.along(Axis.EXPERT),
            groups.along(Axis.PIPELINE))
        .flatMap(Optional::stream)
        .toList();
  }

  /** Time that the training thread has waited for numbers of other ranks since the start. */
  long waitedNanos() {
    return waiting.nanos();
  }

  private double clipFactor(double norm) {
    return clipNorm.isPresent() ? Math.min(1, clipNorm.getAsDouble() / (norm + 1e-6)) : 1;
  }

  private static void requireFinite(long step, double loss, double norm) {
    if (!Double.isFinite(loss) || !Double.isFinite(norm)) {
      throw new NotFiniteException(
          "Step " + (step + 1) + " has loss " + loss + " and gradient norm " + norm + ADVICE);
    }
  }
}
