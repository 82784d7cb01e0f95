package dev.phalanx.trainer;

import dev.phalanx.collectives.device.InterruptedWaitException;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineOptions;
import dev.phalanx.tensor.Engines;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.data.BatchPartition;
import dev.phalanx.trainer.data.BatchSource;
import dev.phalanx.trainer.data.DataPreparation;
import dev.phalanx.trainer.data.TrainingData;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;

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
    this.listener = JobListener.ofRank(context.rank(), listener);
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
    if (!(config.model() instanceof JobConfig.Transformer)) {
      return ModelFamily.of(config).train(config, context, listener, resumeFrom);
    }
    try (Engine engine =
            engines.open(config.engine().label(), new EngineOptions(context.threads()));
        Arenas arenas =
            Arenas.open(engine, Devices.choose(engine, config.device(), context.localRank()));
        DataSetup dataSetup =
            DataSetup.open(config.data(), context.baseDirectory(), DataPreparation.Progress.NONE)) {
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
            config.withModel(modelSetup.resolved(config.transformer())),
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
            groups.batchShares(),
            groups.batchShare(),
            Math.toIntExact(config.batch().micro()));
    StepRunner steps = new StepRunner(arenas, state, groups, samples, partition, config);
    Optional<Evaluator> evaluator =
        data.heldOut()
            .map(
                heldOut ->
                    new Evaluator(
                        arenas,
                        state,
                        groups,
                        heldOut,
                        config,
                        config.evaluation().batches() * config.batch().global()));
    try (Checkpointing checkpoints =
        Checkpointing.open(
            resolved,
            context,
            arenas,
            groups,
            state,
            new DataIdentity(tokenizer, samples.samplesPerEpoch()),
            listener)) {
      long done = checkpoints.restore(resumeFrom);
      return TrainingLoop.run(
          config,
          context,
          listener,
          arenas.host(),
          new TransformerTraining(arenas, state, groups, steps, evaluator, checkpoints),
          summary(arenas.engine(), state, done));
    }
  }

  private JobSummary summary(Engine engine, TrainingState state, long done) {
    return new JobSummary(
        config.name(),
        context.worldSize(),
        state.modelConfig().family().name().toLowerCase(Locale.ROOT),
        state.modelConfig().parameterCount(),
        engine.name(),
        engine.description(),
        config.precision().label(),
        Unit.TOKENS,
        config.batch().global() * state.modelConfig().sequence(),
        done + 1,
        config.steps());
  }
}
