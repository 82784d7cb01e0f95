package dev.phalanx.launcher.local;

import dev.phalanx.collectives.rendezvous.PortInUseException;
import dev.phalanx.collectives.rendezvous.RendezvousServer;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.transport.shm.SharedMemoryEndpoint;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.event.AssignmentCodec;
import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.launcher.process.GroupOutcome;
import dev.phalanx.launcher.process.HostMemory;
import dev.phalanx.launcher.process.Timing;
import dev.phalanx.launcher.process.WorkerGroup;
import dev.phalanx.launcher.process.WorkerSpec;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.launcher.terminal.StatusTable;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/**
 * Worker processes of this host from start to end, whatever they do:
 *
 * <pre>
 *   start processes --> listen for the rendezvous --> hand out assignments --> watch --> outcome
 * </pre>
 *
 * <p>The processes start first because their virtual machines and engines take longest to come up.
 */
final class LocalWorkers {
  /** Long enough for a busy host to write some hundred lines. */
  private static final long ANSWERS_MILLIS = 1500;

  /** A virtual machine that has loaded what a worker is. */
  private static final long LEAST_BYTES_OF_A_WORKER = 48L << 20;

  private LocalWorkers() {}

  /**
   * What the workers are told to do, whichever ranks they run (see {@link Assignment}).
   *
   * @param plan of a benchmark its options
   * @param timeout how long ranks wait for each other
   */
  record Work(
      Assignment.Task task,
      String plan,
      Duration timeout,
      int threads,
      Path baseDirectory,
      Optional<Path> resumeFrom) {}

  /**
   * @param asked the exit status where a signal asked the workers to stop
   */
  record Ended(GroupOutcome outcome, Optional<ExitStatus> asked) {}

  /**
   * Returns when no process is left.
   *
   * @param stopping what a first signal leads to, for the user
   * @param listener hears the workers' events, on the calling thread
   * @throws CommandException where the workers could not be started
   */
  static Ended run(
      WorkerCommands.Settings settings,
      Work work,
      String stopping,
      Console console,
      Consumer<WorkerEvent> listener)
      throws IOException, InterruptedException {
    Placement placement = settings.placement();
    List<WorkerSpec> specs = new WorkerCommands(settings, work.task()).specs();
    requireRoomFor(specs.size());
    try (WorkerGroup group =
            WorkerGroup.start(
                specs, placement.worldSize(), console::line, listener, Timing.DEFAULT);
        StopSignals signals = StopSignals.install(group, console, stopping)) {
      if (placement.isOneWorker() || !placement.isRendezvousHere()) {
        assign(group, placement, work, placement.rendezvous().getPort());
        return new Ended(group.await(), signals.asked());
      }
      try (RendezvousServer rendezvous = rendezvous(placement, work.timeout())) {
        rendezvous.onInquiry(
            answers -> {
              console.line("A rank has waited in vain. Where the ranks are:");
              StatusTable.lines(placement.worldSize(), answers).forEach(console::line);
            });
        rendezvous.onAbsence(
            missing -> {
              console.line(
                  "Not joined in time: rank "
                      + missing.stream().map(String::valueOf).collect(Collectors.joining(", "))
                      + ". A worker of this host that can still answer logs what its threads do.");
              group.askWhere(missing);
              awaitAnswers();
            });
        assign(group, placement, work, rendezvous.port());
        return new Ended(group.await(), signals.asked());
      }
    } finally {
      SharedMemoryEndpoint.cleanUp(placement.token());
    }
  }

  /** A host that pages out its virtual machines hears no signal any more. */
  private static void requireRoomFor(int processes) {
    long has = HostMemory.bytes();
    if (processes > has / LEAST_BYTES_OF_A_WORKER) {
      throw CommandException.usage(
          "%d worker processes take %d GiB of memory even before they begin, and this host has %d."
                  .formatted(processes, (processes * LEAST_BYTES_OF_A_WORKER) >> 30, has >> 30)
              + " Start fewer, or threads with --in-process.");
    }
  }

  /** The others give up when this returns, and the job ends. */
  private static void awaitAnswers() {
    try {
      Thread.sleep(ANSWERS_MILLIS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static RendezvousServer rendezvous(Placement placement, Duration timeout)
      throws IOException {
    try {
      return RendezvousServer.start(
          placement.rendezvous(),
          placement.worldSize(),
          Credentials.of(placement.token(), placement.encryption()),
          timeout);
    } catch (PortInUseException e) {
      throw new CommandException(ExitStatus.BUSY, String.valueOf(e.getMessage()), e);
    }
  }

  private static void assign(
      WorkerGroup group, Placement placement, Work work, int rendezvousPort) {
    for (int worker = 0; worker < placement.workers().size(); worker++) {
      List<Integer> ranks = placement.workers().get(worker);
      Assignment assignment =
          new Assignment(
              placement.token().hex(),
              placement.encryption(),
              work.task(),
              work.plan(),
              placement.worldSize(),
              ranks,
              placement.localRank(ranks.get(0)),
              placement.localWorldSize(),
              placement.address().getHostAddress(),
              placement.rendezvous().getAddress().getHostAddress(),
              rendezvousPort,
              work.threads(),
              work.baseDirectory(),
              work.resumeFrom());
      group.assign(worker, AssignmentCodec.encode(assignment));
    }
  }
}
