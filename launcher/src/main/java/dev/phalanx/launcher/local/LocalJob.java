package dev.phalanx.launcher.local;

import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.process.GroupOutcome;
import dev.phalanx.launcher.process.RankFailure;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.launcher.terminal.Progress;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.ModelFamily;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigWriter;
import java.io.IOException;
import java.util.Optional;

/**
 * Runs a training job, as far as its ranks are this host's, from start to end: workers, progress,
 * report, outcome.
 */
public final class LocalJob {
  private LocalJob() {}

  /**
   * Returns when no process of the job is left.
   *
   * @throws dev.phalanx.launcher.CommandException where the job could not be started
   */
  public static JobOutcome run(JobOptions job, Console console, Progress progress)
      throws IOException, InterruptedException {
    JobMonitor monitor = new JobMonitor(job, progress);
    WorkerCommands.Settings settings = settings(job);
    String stopping =
        "Stopping after this step"
            + (job.config().checkpoint().isPresent() ? " and saving a checkpoint" : "");
    LocalWorkers.Ended ended =
        LocalWorkers.run(
            settings,
            new LocalWorkers.Work(
                Assignment.Task.TRAIN,
                JobConfigWriter.toYaml(job.config()),
                job.config().communication().timeout(),
                job.threadsPerRank(),
                job.baseDirectory(),
                job.resumeFrom()),
            stopping,
            console,
            monitor::accept);
    return outcome(job, monitor, ended.outcome(), ended.asked(), progress, console);
  }

  private static WorkerCommands.Settings settings(JobOptions job) {
    if (job.config().model() instanceof JobConfig.Transformer) {
      return new WorkerCommands.Settings(
          job.placement(),
          job.isVerbose(),
          job.config().engine().label(),
          WorkerCommands.ARENAS,
          job.threadsPerRank());
    }
    ModelFamily family = ModelFamily.of(job.config());
    return new WorkerCommands.Settings(
        job.placement(),
        job.isVerbose(),
        family.engine(),
        family.memoryFlags(job.placement().workers().size()),
        job.threadsPerRank());
  }

  private static JobOutcome outcome(
      JobOptions job,
      JobMonitor monitor,
      GroupOutcome ended,
      Optional<ExitStatus> asked,
      Progress progress,
      Console console) {
    progress.end();
    if (ended instanceof GroupOutcome.Failed failed) {
      return failure(job, monitor, failed.rootCause(), console);
    }
    if (ended instanceof GroupOutcome.Finished && monitor.result().isPresent()) {
      JobResult result = monitor.result().get();
      boolean isStopped = result.outcome() == JobResult.Outcome.STOPPED;
      ExitStatus status = isStopped ? asked.orElse(ExitStatus.STOPPED) : ExitStatus.DONE;
      return new JobOutcome(status, Optional.of(result), Optional.empty(), "");
    }
    String sentence =
        monitor
            .lastCheckpoint()
            .map(path -> "ended before the step was done; the last checkpoint is " + path + ".")
            .orElse("ended before the step was done; there is no checkpoint.");
    monitor.reportFailure(sentence, console);
    return new JobOutcome(
        asked.orElse(ExitStatus.RANK_FAILED), Optional.empty(), Optional.of(sentence), "");
  }

  private static JobOutcome failure(
      JobOptions job, JobMonitor monitor, RankFailure cause, Console console) {
    String sentence = cause.sentence(job.placement().worldSize(), job.placement().hostName());
    String advice =
        monitor
            .lastCheckpoint()
            .map(path -> sentence + " The last checkpoint is " + path + ".")
            .orElse(sentence);
    if (cause.failure().status() != ExitStatus.BUSY) { // else it may be another job's report
      monitor.reportFailure(sentence, console);
    }
    return new JobOutcome(
        cause.failure().status(),
        Optional.empty(),
        Optional.of(advice),
        cause.failure().stackTrace());
  }
}
