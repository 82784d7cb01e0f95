package dev.phalanx.launcher.worker;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.shm.SharedMemoryEndpoint;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import dev.phalanx.launcher.Failures;
import dev.phalanx.launcher.LibraryLogs;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.launcher.process.Signals;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.util.Optional;

/**
 * A worker process. Arguments: the engine's name and the threads of a kernel, so that loading can
 * begin at once, or none; all else comes through standard input (see {@link Assignment}). Standard
 * output carries events, standard error the log.
 *
 * <p>The process ends at once when its standard input does: a worker never outlives its launcher.
 */
public final class WorkerMain {
  private WorkerMain() {}

  public static void main(String[] arguments) {
    EventWriter events = new EventWriter(new FileOutputStream(FileDescriptor.out));
    System.setOut(System.err);
    LibraryLogs.keepWarningsOnly();
    ControlChannel control = ControlChannel.listen(System.in, WorkerMain::launcherLost);
    // Ctrl-C and a terminal's end reach every process of the job: the launcher decides what they
    // mean. A SIGTERM may be meant for this process alone (its host is drained): the whole job
    // stops after the step.
    Signals.ignore("INT");
    Signals.ignore("HUP");
    Signals.handle("TERM", control::requestStop);
    int rank = Integer.parseInt(System.getenv().getOrDefault("RANK", "0"));
    Thread.setDefaultUncaughtExceptionHandler((thread, thrown) -> halt(fail(events, rank, thrown)));
    if (arguments.length == 2) {
      EngineWarmUp.start(arguments[0], Integer.parseInt(arguments[1]));
    }
    try {
      halt(new Worker(control.assignment(), events, control::isStopRequested).run());
    } catch (InterruptedException | IOException | RuntimeException | Error e) {
      halt(fail(events, rank, e));
    }
  }

  /**
   * Removes what ranks that were still connecting have in shared memory: the launcher, which would
   * do it, may have been killed. Each worker does it when its own end is near, so that the last one
   * leaves nothing.
   */
  private static void launcherLost(Optional<Assignment> assignment) {
    try {
      assignment.ifPresent(
          job -> SharedMemoryEndpoint.cleanUpBesideRanks(JobToken.parse(job.token())));
    } finally { // whatever becomes of that
      halt(ExitStatus.LAUNCHER_LOST);
    }
  }

  private static ExitStatus fail(EventWriter events, int rank, Throwable thrown) {
    Failure failure = Failures.describe(thrown);
    events.write(new WorkerEvent.Failed(rank, failure, Optional.empty()));
    return failure.status();
  }

  /**
   * Ends without shutdown hooks: a library's hook must not hold up a worker whose work is done or
   * lost.
   */
  private static void halt(ExitStatus status) {
    System.err.flush();
    Runtime.getRuntime().halt(status.code());
  }
}
