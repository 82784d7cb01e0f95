package dev.phalanx.launcher.local;

import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.bench.BenchmarkOptions;
import dev.phalanx.launcher.bench.BenchmarkRow;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.launcher.process.GroupOutcome;
import dev.phalanx.launcher.terminal.Console;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Consumer;

/** A benchmark of the collectives, as far as this host runs its ranks. */
public final class LocalBenchmark {
  private LocalBenchmark() {}

  /**
   * Measures, and returns when no process is left.
   *
   * @param rows hears of each result as it comes, where rank 0 is
   * @return the exit status
   * @throws CommandException where a rank failed or the workers could not be started
   */
  public static ExitStatus run(
      BenchmarkOptions options,
      Placement placement,
      boolean isVerbose,
      Console console,
      Consumer<BenchmarkRow> rows)
      throws IOException, InterruptedException {
    LocalWorkers.Ended ended =
        LocalWorkers.run(
            new WorkerCommands.Settings(placement, isVerbose, "auto", WorkerCommands.ARENAS, 1),
            new LocalWorkers.Work(
                Assignment.Task.BENCHMARK,
                options.encode(),
                options.timeout(),
                1,
                Path.of("").toAbsolutePath(),
                Optional.empty()),
            "Stopping after this measurement",
            console,
            event -> {
              if (event instanceof WorkerEvent.Measured measured) {
                rows.accept(measured.row());
              }
            });
    if (ended.outcome() instanceof GroupOutcome.Failed failed) {
      throw new CommandException(
          failed.rootCause().failure().status(),
          failed.rootCause().sentence(placement.worldSize(), placement.hostName()));
    }
    return ended.asked().orElse(ExitStatus.DONE);
  }
}
