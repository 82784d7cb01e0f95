package dev.phalanx.launcher.local;

import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.launcher.terminal.Progress;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.JobSummary;
import dev.phalanx.trainer.RankStatistics;
import dev.phalanx.trainer.Report;
import dev.phalanx.trainer.StepRecord;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Hears the events of a job: shows progress, keeps the first rank's result, and can write a report
 * of its own where rank 0 is, for that may be the one that is lost. One thread.
 */
final class JobMonitor {
  private final JobOptions job;
  private final Progress progress;
  private final List<StepRecord> steps = new ArrayList<>();
  private final List<WorkerEvent.Evaluated> evaluations = new ArrayList<>();
  private final Map<Integer, RankStatistics> failedRanks = new TreeMap<>();
  private Optional<JobSummary> summary = Optional.empty();
  private Optional<JobResult> result = Optional.empty();
  private Optional<Path> lastCheckpoint = Optional.empty();

  JobMonitor(JobOptions job, Progress progress) {
    this.job = job;
    this.progress = progress;
  }

  void accept(WorkerEvent event) {
    if (event instanceof WorkerEvent.Started started) {
      summary = Optional.of(started.summary());
    } else if (event instanceof WorkerEvent.StepFinished step && reportFile().isPresent()) {
      steps.add(step.step());
    } else if (event instanceof WorkerEvent.Evaluated evaluated) {
      evaluations.add(evaluated);
    } else if (event instanceof WorkerEvent.CheckpointSaved saved) {
      lastCheckpoint = Optional.of(saved.directory());
    } else if (event instanceof WorkerEvent.Finished finished
        && finished.rank() == job.placement().firstRank()) {
      result = finished.result();
    } else if (event instanceof WorkerEvent.Failed failed) {
      failed.statistics().ifPresent(own -> failedRanks.put(failed.rank(), own));
    }
    progress.accept(event);
  }

  /** The first rank's result; empty as long as it has not finished. */
  Optional<JobResult> result() {
    return result;
  }

  /** The newest checkpoint that the job published. */
  Optional<Path> lastCheckpoint() {
    return lastCheckpoint;
  }

  /**
   * Writes the report of a failed job; an error is told on the console, since the failure itself
   * matters more.
   */
  void reportFailure(String failure, Console console) {
    Optional<Path> file = reportFile();
    if (file.isEmpty()) {
      return;
    }
    String engine = summary.map(JobSummary::engineName).orElse(job.config().engine().label());
    Report report = new Report(job.config(), job.placement().worldSize(), engine);
    steps.forEach(report::add);
    evaluations.forEach(each -> report.add(each.step(), each.evaluation()));
    try {
      report.writeFailure(file.get(), failure, failedRanks.values());
    } catch (IOException e) {
      console.line("The report " + file.get() + " cannot be written: " + e.getMessage());
    }
  }

  private Optional<Path> reportFile() {
    return job.placement().hasRankZero()
        ? job.config().log().report().map(job.baseDirectory()::resolve)
        : Optional.empty();
  }
}
