package dev.phalanx.launcher.local;

import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.rendezvous.PortInUseException;
import dev.phalanx.collectives.rendezvous.RendezvousServer;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.event.AssignmentCodec;
import dev.phalanx.launcher.process.GroupOutcome;
import dev.phalanx.launcher.process.RankFailure;
import dev.phalanx.launcher.process.Timing;
import dev.phalanx.launcher.process.WorkerGroup;
import dev.phalanx.launcher.process.WorkerSpec;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.launcher.terminal.Progress;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.config.JobConfigWriter;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Optional;

/**
 * Runs a job on this host from start to end: worker processes, rendezvous, events, signals,
 * outcome.
 *
 * <pre>
 *   start processes --> listen for the rendezvous --> hand out assignments --> watch --> outcome
 * </pre>
 *
 * <p>The processes start first because their virtual machines and engines take longest to come up.
 */
public final class LocalJob {
  private LocalJob() {}

  /**
   * Returns when no process of the job is left.
   *
   * @throws CommandException where the job could not be started
   */
  public static JobOutcome run(JobOptions job, Console console, Progress progress)
      throws IOException, InterruptedException {
    JobMonitor monitor = new JobMonitor(job, progress);
    JobToken token = JobToken.random();
    List<WorkerSpec> specs = new WorkerCommands(job).specs();
    try (WorkerGroup group =
            WorkerGroup.start(specs, console::line, monitor::accept, Timing.DEFAULT);
        StopSignals signals =
            StopSignals.install(group, console, job.config().checkpoint().isPresent())) {
      if (specs.size() == 1) {
        assign(job, group, specs, token, new InetSocketAddress("localhost", 0));
        return outcome(job, monitor, group.await(), signals, progress, console);
      }
      try (RendezvousServer rendezvous = rendezvous(job, token)) {
        assign(
            job,
            group,
            specs,
            token,
            new InetSocketAddress(InetAddress.getLoopbackAddress(), rendezvous.port()));
        return outcome(job, monitor, group.await(), signals, progress, console);
      }
    }
  }

  private static RendezvousServer rendezvous(JobOptions job, JobToken token) throws IOException {
    try {
      return RendezvousServer.start(
          new InetSocketAddress(InetAddress.getLoopbackAddress(), job.port()),
          job.worldSize(),
          token,
          job.config().communication().timeout());
    } catch (PortInUseException e) {
      throw new CommandException(ExitStatus.BUSY, String.valueOf(e.getMessage()), e);
    }
  }

  private static void assign(
      JobOptions job,
      WorkerGroup group,
      List<WorkerSpec> specs,
      JobToken token,
      InetSocketAddress rendezvous) {
    String plan = JobConfigWriter.toYaml(job.config());
    for (int worker = 0; worker < specs.size(); worker++) {
      Assignment assignment =
          new Assignment(
              token.hex(),
              plan,
              job.worldSize(),
              specs.get(worker).ranks(),
              job.worldSize(),
              rendezvous.getHostString(),
              rendezvous.getPort(),
              job.threadsPerRank(),
              job.baseDirectory(),
              job.resumeFrom());
      group.assign(worker, AssignmentCodec.encode(assignment));
    }
  }

  private static JobOutcome outcome(
      JobOptions job,
      JobMonitor monitor,
      GroupOutcome ended,
      StopSignals signals,
      Progress progress,
      Console console) {
    progress.end();
    Optional<ExitStatus> asked = signals.asked();
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
    String sentence = cause.sentence(job.worldSize());
    String advice =
        monitor
            .lastCheckpoint()
            .map(path -> sentence + " The last checkpoint is " + path + ".")
            .orElse(sentence);
    monitor.reportFailure(sentence, console);
    return new JobOutcome(
        cause.failure().status(),
        Optional.empty(),
        Optional.of(advice),
        cause.failure().stackTrace());
  }
}
