package dev.phalanx.launcher.local;

import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.rendezvous.PortInUseException;
import dev.phalanx.collectives.rendezvous.RendezvousServer;
import dev.phalanx.collectives.transport.shm.SharedMemoryEndpoint;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.event.AssignmentCodec;
import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.launcher.process.GroupOutcome;
import dev.phalanx.launcher.process.Timing;
import dev.phalanx.launcher.process.WorkerGroup;
import dev.phalanx.launcher.process.WorkerSpec;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.launcher.terminal.StatusTable;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

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
  private LocalWorkers() {}

  /** What a worker is told to do. */
  interface Assigner {
    Assignment of(JobToken token, List<Integer> ranks, InetSocketAddress rendezvous);
  }

  /**
   * Where the ranks meet.
   *
   * @param port 0: any free one
   * @param timeout how long they wait for each other
   */
  record Meeting(int port, Duration timeout) {}

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
      Meeting meeting,
      Assigner assigner,
      String stopping,
      Console console,
      Consumer<WorkerEvent> listener)
      throws IOException, InterruptedException {
    JobToken token = JobToken.random();
    List<WorkerSpec> specs = new WorkerCommands(settings).specs();
    try (WorkerGroup group = WorkerGroup.start(specs, console::line, listener, Timing.DEFAULT);
        StopSignals signals = StopSignals.install(group, console, stopping)) {
      if (specs.size() == 1) {
        assign(group, specs, assigner, token, new InetSocketAddress("localhost", 0));
        return new Ended(group.await(), signals.asked());
      }
      try (RendezvousServer rendezvous = rendezvous(settings.worldSize(), meeting, token)) {
        rendezvous.onInquiry(
            answers -> {
              console.line("A rank has waited in vain. Where the ranks are:");
              StatusTable.lines(settings.worldSize(), answers).forEach(console::line);
            });
        assign(
            group,
            specs,
            assigner,
            token,
            new InetSocketAddress(InetAddress.getLoopbackAddress(), rendezvous.port()));
        return new Ended(group.await(), signals.asked());
      } finally {
        SharedMemoryEndpoint.cleanUp(token);
      }
    }
  }

  private static RendezvousServer rendezvous(int worldSize, Meeting meeting, JobToken token)
      throws IOException {
    try {
      return RendezvousServer.start(
          new InetSocketAddress(InetAddress.getLoopbackAddress(), meeting.port()),
          worldSize,
          token,
          meeting.timeout());
    } catch (PortInUseException e) {
      throw new CommandException(ExitStatus.BUSY, String.valueOf(e.getMessage()), e);
    }
  }

  private static void assign(
      WorkerGroup group,
      List<WorkerSpec> specs,
      Assigner assigner,
      JobToken token,
      InetSocketAddress rendezvous) {
    for (int worker = 0; worker < specs.size(); worker++) {
      Assignment assignment = assigner.of(token, specs.get(worker).ranks(), rendezvous);
      group.assign(worker, AssignmentCodec.encode(assignment));
    }
  }
}
