package dev.phalanx.trainer;

import dev.phalanx.tensor.Arena;
import dev.phalanx.trainer.config.JobConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * The loop over a job's steps on one rank, and what is counted and told on the way. It is the same
 * for every kind of model.
 *
 * <pre>
 *   step -> (evaluation) -> (checkpoint) -> step ... -> report
 * </pre>
 */
public final class TrainingLoop {
  private final JobConfig config;
  private final RankContext context;
  private final JobListener listener;
  private final Arena host;
  private final TrainedModel model;
  private final JobSummary summary;
  private final Report report;
  private final Optional<Path> reportFile; // where this rank writes it
  private final long startNanos = System.nanoTime();
  private double stepMillis;
  private double waitedMillis; // of it
  private long items; // of all steps
  private double lastLoss = Double.NaN;
  private Optional<Evaluation> lastEvaluation = Optional.empty();

  private TrainingLoop(
      JobConfig config,
      RankContext context,
      JobListener listener,
      Arena host,
      TrainedModel model,
      JobSummary summary) {
    this.config = config;
    this.context = context;
    this.listener = listener;
    this.host = host;
    this.model = model;
    this.summary = summary;
    this.report = new Report(config, context.worldSize(), summary.engineName());
    this.reportFile =
        context.rank() == 0
            ? config.log().report().map(context.baseDirectory()::resolve)
            : Optional.empty();
  }

  /**
   * Trains to the end, or until a stop is asked for.
   *
   * @param listener of this rank, see {@link JobListener#ofRank}
   * @param host an arena on the CPU
   * @param summary of the job, which is told; its first step is the one that comes first
   * @throws IOException where the report or a checkpoint cannot be written
   */
  public static JobResult run(
      JobConfig config,
      RankContext context,
      JobListener listener,
      Arena host,
      TrainedModel model,
      JobSummary summary)
      throws InterruptedException, IOException {
    TrainingLoop loop = new TrainingLoop(config, context, listener, host, model, summary);
    Optional<Path> curves =
        context.rank() == 0
            ? config.log().tensorboard().map(context.baseDirectory()::resolve)
            : Optional.empty();
    try (TensorBoard tensorBoard =
        TensorBoard.open(curves, config.log().every(), Unit.of(config))) {
      listener.started(summary);
      return loop.run(tensorBoard);
    }
  }

  private JobResult run(TensorBoard tensorBoard) throws InterruptedException, IOException {
    try {
      long done = summary.firstStep() - 1;
      boolean stopped = false;
      while (done < config.steps() && !stopped) {
        boolean stopIsRequested = runStep(done, tensorBoard);
        done++;
        if (isDue(config.evaluation().every(), done) || done == config.steps()) {
          evaluate(done, tensorBoard);
        }
        stopped = done < config.steps() && stopIsRequested;
        if (isSaved(done, done == config.steps() || stopped)) {
          model.save(done);
        }
      }
      model.finish();
      return result(stopped ? JobResult.Outcome.STOPPED : JobResult.Outcome.COMPLETED, done);
    } catch (RuntimeException | Error | InterruptedException | IOException e) {
      RankStatistics own = statistics();
      listener.failed(e, own);
      reportFailure(e, own);
      model.abandon();
      context.world().close();
      throw e;
    }
  }

  private boolean runStep(long step, TensorBoard tensorBoard)
      throws InterruptedException, IOException {
    double waitedBefore = model.waitedMillis();
    long start = System.nanoTime();
    double millis;
    StepOutcome outcome;
    try {
      outcome = model.step(step, context.stopRequested());
    } finally { // the time of a step that fails was no idle time either
      millis = (System.nanoTime() - start) / 1e6;
      stepMillis += millis;
      waitedMillis += model.waitedMillis() - waitedBefore;
    }
    lastLoss = outcome.loss();
    items += outcome.items();
    StepRecord record =
        new StepRecord(
            step + 1,
            outcome.loss(),
            outcome.gradientNorm(),
            outcome.learningRate(),
            outcome.items(),
            millis,
            outcome.lossScale(),
            outcome.expertLoad(),
            outcome.isSkipped());
    if (reportFile.isPresent()) {
      report.add(record);
    }
    tensorBoard.step(record);
    listener.stepFinished(record);
    return outcome.stopIsRequested();
  }

  private void evaluate(long done, TensorBoard tensorBoard)
      throws InterruptedException, IOException {
    Optional<Evaluation> found = model.evaluate();
    if (found.isPresent()) {
      requireFinite(done, found.get());
      lastEvaluation = found;
      if (reportFile.isPresent()) {
        report.add(done, found.get());
      }
      tensorBoard.evaluation(done, found.get());
      listener.evaluated(done, found.get());
    }
  }

  /** What the last step made of the model shows in no step's own loss. */
  private static void requireFinite(long done, Evaluation evaluation) {
    if (!Double.isFinite(evaluation.loss())) {
      throw new NotFiniteException(
          "After step "
              + done
              + " the held-out data has loss "
              + evaluation.loss()
              + ", so training has stopped, and that step was not saved. Lower optimizer.lr, set"
              + " optimizer.clip_grad_norm, or go on from an earlier checkpoint with --resume.");
    }
  }

  private JobResult result(JobResult.Outcome outcome, long done)
      throws InterruptedException, IOException {
    double seconds = (System.nanoTime() - startNanos) / 1e9;
    List<RankStatistics> ranks = RankStatistics.gather(context.world(), host, statistics());
    boolean isToldAlready = report.isEmpty() && reportFile.filter(Files::isRegularFile).isPresent();
    if (reportFile.isPresent() && !isToldAlready) { // by the run that this one has gone on from
      report.write(
          reportFile.get(),
          outcome == JobResult.Outcome.COMPLETED ? "completed" : "stopped",
          ranks);
    }
    return new JobResult(
        outcome,
        done,
        lastLoss,
        lastEvaluation,
        seconds,
        Unit.of(config),
        stepMillis > 0 ? (double) items / (stepMillis / 1000) : 0,
        ranks.stream().mapToLong(RankStatistics::peakResidentBytes).max().orElse(0),
        model.newestCheckpoint(),
        reportFile);
  }

  /** What this rank knows of itself, without asking others. */
  private RankStatistics statistics() {
    double totalMillis = (System.nanoTime() - startNanos) / 1e6;
    TrainedModel.Memory memory = model.memory();
    return new RankStatistics(
        context.rank(),
        ProcessMemory.peakResidentBytes(),
        memory.parameters(),
        memory.gradients(),
        memory.optimizer(),
        memory.peakActivations(),
        model.traffic(),
        stepMillis - waitedMillis,
        waitedMillis,
        totalMillis - stepMillis,
        model.compression());
  }

  /** Best effort: what failed first is what the caller must hear of. */
  private void reportFailure(Throwable failure, RankStatistics own) {
    try {
      if (reportFile.isPresent()) {
        report.writeFailure(reportFile.get(), String.valueOf(failure.getMessage()), List.of(own));
      }
    } catch (IOException | RuntimeException | Error e) { // memory may be short
      failure.addSuppressed(e);
    }
  }

  /** Where the plan says so, and always after the last step. */
  private boolean isSaved(long done, boolean isLast) {
    return config
        .checkpoint()
        .filter(settings -> isLast || isDue(settings.every(), done))
        .isPresent();
  }

  private static boolean isDue(long every, long done) {
    return every > 0 && done % every == 0;
  }
}
