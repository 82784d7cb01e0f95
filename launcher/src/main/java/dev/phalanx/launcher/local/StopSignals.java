package dev.phalanx.launcher.local;

import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.process.Signals;
import dev.phalanx.launcher.process.WorkerGroup;
import dev.phalanx.launcher.terminal.Console;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Turns signals into requests to the workers: the first Ctrl-C or SIGTERM stops them after their
 * step, the second kills them. So does a terminal that closes, which may say it twice, unless the
 * launcher was started to outlive it. Should the launcher end in any other way, a hook kills them.
 */
final class StopSignals implements AutoCloseable {
  private final WorkerGroup group;
  private final Console console;
  private final String stopping;
  private final AtomicReference<@Nullable ExitStatus> asked = new AtomicReference<>();
  private final Thread hook;

  private StopSignals(WorkerGroup group, Console console, String stopping) {
    this.group = group;
    this.console = console;
    this.stopping = stopping;
    this.hook = new Thread(group::kill, "kill-workers");
  }

  /**
   * @param stopping what a first signal leads to, for the user
   */
  static StopSignals install(WorkerGroup group, Console console, String stopping) {
    StopSignals signals = new StopSignals(group, console, stopping);
    Runtime.getRuntime().addShutdownHook(signals.hook);
    Signals.handle("INT", () -> signals.ask(ExitStatus.INTERRUPTED));
    Signals.handle("TERM", () -> signals.ask(ExitStatus.STOPPED));
    Signals.handle("HUP", () -> signals.askOnce(ExitStatus.STOPPED));
    return signals;
  }

  /** What the job's exit status is if it stopped because of a signal; empty if none came. */
  Optional<ExitStatus> asked() {
    return Optional.ofNullable(asked.get());
  }

  private void ask(ExitStatus status) {
    if (!askOnce(status)) {
      group.kill();
    }
  }

  /** Asks the workers to stop, unless they have been asked; whether they had not. */
  private boolean askOnce(ExitStatus status) {
    boolean isFirst = asked.compareAndSet(null, status);
    if (isFirst) {
      group.requestStop(); // first: a terminal that is held up must not hold up the stop
      console.line(stopping + "; press Ctrl-C again to end at once.");
    }
    return isFirst;
  }

  @Override
  public void close() {
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The JVM is shutting down and the hook runs.
    }
  }
}
