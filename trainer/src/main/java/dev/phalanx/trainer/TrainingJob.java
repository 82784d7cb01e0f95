package dev.phalanx.trainer;

import dev.phalanx.collectives.device.InterruptedWaitException;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.data.BatchPartition;
import dev.phalanx.trainer.data.BatchSource;
import dev.phalanx.trainer.data.TrainingData;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * One rank's part of a training job, from the plan to the report. Every rank of the job runs the
 * same code on its own thread or in its own process; nothing is shared between ranks but what the
 * communicator carries.
 *
 * <pre>
 *   plan -> data -> model in flat memory -> (checkpoint) -> steps -> report
 * </pre>
 */
public final class TrainingJob {
  private final JobConfig config;
  private final RankContext context;
  private final JobListener listener;
  private final JobListener everyRanksListener;
  private final Optional<Path> resumeFrom;
  private final EngineSource engines;

  /** Opens the engine that a plan names, as {@link Engines#open} does. */
  @FunctionalInterface
  public interface EngineSource {
    Engine open(String name, EngineOptions options);
  }

  /**
   * @param resumeFrom a checkpoint, or a directory whose newest checkpoint the job goes on from;
   *     nothing: it starts anew
   */
  public TrainingJob(
      JobConfig config, RankContext context, JobListener listener, Optional<Path> resumeFrom) {
    this(config, context, listener, resumeFrom, Engines::open);
  }

  /** A job with engines from elsewhere than the class path. */
  public TrainingJob(
      JobConfig config,
      RankContext context,
      JobListener listener,
      Optional<Path> resumeFrom,
      EngineSource engines) {
    this.config = config;
    this.context = context;
    this.listener = context.rank() == 0 ? listener : JobListener.NONE;
    this.everyRanksListener = listener;
    this.resumeFrom = resumeFrom;
    this.engines = engines;
  }

  /**
   * Trains to the end, or until a stop is asked for.
   *
   * @throws IOException where the report or a checkpoint cannot be written
   * @throws dev.phalanx.trainer.data.DataException where the data is missing, damaged or does not
   *     fit the model
   * @throws dev.phalanx.checkpoint.BadCheckpointException where weights or a checkpoint are damaged
   *     or do not fit
   * @throws dev.phalanx.collectives.CollectiveException where another rank is lost or disagrees
   * @throws NotFiniteException where the loss is no number any more
   */
  public JobResult run() throws InterruptedException, IOException {
    try (Engine engine =
            engines.open(config.engine().label(), new EngineOptions(context.threads()));
        Arenas arenas =
            Arenas.open(engine, Devices.choose(engine, config.device(), context.localRank()));
        DataSetup dataSetup = DataSetup.open(config.data(), context.baseDirectory())) {
      ModelSetup modelSetup =
          ModelSetup.of(config, context.baseDirectory(), dataSetup.vocabulary());
      double heldOut = config.evaluation().every() > 0 ? config.evaluation().fraction() : 0;
      try (TrainingData data =
              dataSetup.samples(
                  modelSetup.config().sequence(), modelSetup.config().vocabulary(), heldOut);
          RankGroups groups =
              RankGroups.open(
                  config,
                  PipelinePlan.of(
                      config, modelSetup.config(), context.baseDirectory(), context.worldSize()),
                  modelSetup.config(),
                  context.groups(),
                  context.world())) {
        TrainingState state = new TrainingState(arenas, groups, modelSetup, config);
        state.initialize(modelSetup, engine);
        return train(
            arenas,
            state,
            groups,
            data,
            config.withModel(modelSetup.resolved(config.model())),
            dataSetup.tokenizer());
      }
    } catch (InterruptedWaitException e) {
      Thread.interrupted(); // the exception tells it from here on
      throw (InterruptedException) new InterruptedException(e.getMessage()).initCause(e);
    }
  }

  private JobResult train(
      Arenas arenas,
      TrainingState state,
      RankGroups groups,
      TrainingData data,
      JobConfig resolved,
      Optional<String> tokenizer)
      throws InterruptedException, IOException {
    BatchSource samples = data.training();
    BatchPartition partition =
        new BatchPartition(
            config.batch().global(),
            groups.mesh().size(Axis.DATA),
            groups.coordinate(Axis.DATA),
            Math.toIntExact(config.batch().micro()));
    StepRunner steps = new StepRunner(arenas, state, groups, samples, partition, config);
    Evaluator evaluator =
        data.heldOut()
            .map(
                heldOut ->
                    new Evaluator(
                        arenas,
                        state,
                        groups,
                        heldOut,
                        config,
                        config.evaluation().batches() * config.batch().global()))
            .orElse(null);
    Report report =
        new Report(config.name(), context.worldSize(), groups.mesh(), arenas.engine().name());
    try (TensorBoard tensorBoard = tensorBoard();
        Checkpointing checkpoints =
            Checkpointing.open(
                resolved,
                context,
                arenas,
                groups,
                state,
                new DataIdentity(tokenizer, samples.samplesPerEpoch()),
                listener)) {
      long firstStep = checkpoints.restore(resumeFrom);
      listener.started(summary(arenas.engine(), state, firstStep));
      return new Run(steps, evaluator, checkpoints, report, tensorBoard, arenas, state, groups)
          .from(firstStep);
    }
  }

  private TensorBoard tensorBoard() throws IOException {
    Optional<Path> folder =
        context.rank() == 0
            ? config.log().tensorboard().map(context.baseDirectory()::resolve)
            : Optional.empty();
    return TensorBoard.open(folder, config.log().every());
  }

  private JobSummary summary(Engine engine, TrainingState state, long firstStep) {
    return new JobSummary(
        config.name(),
        context.worldSize(),
        state.modelConfig().family().name().toLowerCase(Locale.ROOT),
        state.modelConfig().parameterCount(),
        engine.name(),
        engine.description(),
        config.precision().label(),
        tokensPerStep(state),
        firstStep + 1,
        config.steps());
  }

  /** The loop over steps and what is counted on the way. */
  private final class Run {
    private final StepRunner steps;
    private final @Nullable Evaluator evaluator;
    private final Checkpointing checkpoints;
    private final Report report;
    private final TensorBoard tensorBoard;
    private final Arenas arenas;
    private final TrainingState state;
    private final RankGroups groups;
    private final long startNanos = System.nanoTime();
    private double stepMillis;
    private double lastLoss = Double.NaN;
    private double lastEvaluation = Double.NaN;

    Run(
        StepRunner steps,
        @Nullable Evaluator evaluator,
        Checkpointing checkpoints,
        Report report,
        TensorBoard tensorBoard,
        Arenas arenas,
        TrainingState state,
        RankGroups groups) {
      this.steps = steps;
      this.evaluator = evaluator;
      this.checkpoints = checkpoints;
      this.report = report;
      this.tensorBoard = tensorBoard;
      this.arenas = arenas;
      this.state = state;
      this.groups = groups;
    }

    JobResult from(long firstStep) throws InterruptedException, IOException {
      try {
        long done = firstStep;
        boolean stopped = false;
        while (done < config.steps() && !stopped) {
          boolean stopIsRequested = runStep(done);
          done++;
          if (isDue(config.evaluation().every(), done) || done == config.steps()) {
            evaluate(done);
          }
          stopped = done < config.steps() && stopIsRequested;
          checkpoints.afterStep(done, done == config.steps() || stopped);
        }
        checkpoints.finish();
        state.memory().settle();
        return result(
            stopped ? JobResult.Outcome.STOPPED : JobResult.Outcome.COMPLETED, done, firstStep);
      } catch (RuntimeException | Error | InterruptedException | IOException e) {
        RankStatistics own = statistics();
        everyRanksListener.failed(e, own);
        reportFailure(e, own);
        // Buckets may be under way: nobody may read or write their memory when it is freed.
        groups.close();
        context.world().close();
        throw e;
      }
    }

    private boolean runStep(long step) throws InterruptedException, IOException {
      long start = System.nanoTime();
      double millis;
      StepRunner.Outcome outcome;
      try {
        outcome = steps.run(step, context.stopRequested());
      } finally { // the time of a step that fails was no idle time either
        millis = (System.nanoTime() - start) / 1e6;
        stepMillis += millis;
      }
      lastLoss = outcome.loss();
      StepRecord record =
          new StepRecord(
              step + 1,
              outcome.loss(),
              outcome.gradientNorm(),
              outcome.learningRate(),
              tokensPerStep(state),
              millis,
              outcome.lossScale(),
              outcome.isSkipped());
      report.add(record);
      tensorBoard.step(record);
      listener.stepFinished(record);
      return outcome.stopIsRequested();
    }

    private void evaluate(long done) throws InterruptedException, IOException {
      if (evaluator != null) {
        Evaluator.Outcome outcome = evaluator.run();
        lastEvaluation = outcome.loss();
        report.addEvaluation(done, outcome.loss(), outcome.tokens());
        tensorBoard.evaluation(done, outcome.loss());
        listener.evaluated(done, outcome.loss(), outcome.tokens());
      }
    }

    private JobResult result(JobResult.Outcome outcome, long done, long firstStep)
        throws InterruptedException, IOException {
      double seconds = (System.nanoTime() - startNanos) / 1e9;
      Optional<Path> reportFile = reportFile();
      List<RankStatistics> ranks =
          RankStatistics.gather(context.world(), arenas.host(), statistics());
      if (reportFile.isPresent()) {
        report.write(
            reportFile.get(),
            outcome == JobResult.Outcome.COMPLETED ? "completed" : "stopped",
            ranks);
      }
      double tokens = (double) (done - firstStep) * tokensPerStep(state);
      return new JobResult(
          outcome,
          done,
          lastLoss,
          lastEvaluation,
          seconds,
          stepMillis > 0 ? tokens / (stepMillis / 1000) : 0,
          ranks.stream().mapToLong(RankStatistics::peakResidentBytes).max().orElse(0),
          checkpoints.newest(),
          reportFile);
    }

    /** What this rank knows of itself, without asking others. */
    private RankStatistics statistics() {
      double totalMillis = (System.nanoTime() - startNanos) / 1e6;
      double exposed = state.exposedNanos() / 1e6;
      return new RankStatistics(
          context.rank(),
          ProcessMemory.peakResidentBytes(),
          state.memory().parameterBytes(),
          state.memory().gradientBytes(),
          state.optimizerBytes(),
          arenas.step().peakBytesInUse(),
          groups.traffic(),
          stepMillis - exposed,
          exposed,
          totalMillis - stepMillis,
          state.memory().compressionStatistics().orElse(null));
    }

    /** Best effort: what failed first is what the caller must hear of. */
    private void reportFailure(Throwable failure, RankStatistics own) {
      try {
        Optional<Path> file = reportFile();
        if (file.isPresent()) {
          report.writeFailure(file.get(), String.valueOf(failure.getMessage()), List.of(own));
        }
      } catch (IOException | RuntimeException e) {
        failure.addSuppressed(e);
      }
    }

    private Optional<Path> reportFile() {
      return context.rank() == 0
          ? config.log().report().map(context.baseDirectory()::resolve)
          : Optional.empty();
    }
  }

  private long tokensPerStep(TrainingState state) {
    return config.batch().global() * state.modelConfig().sequence();
  }

  private static boolean isDue(long every, long done) {
    return every > 0 && done % every == 0;
  }
}
