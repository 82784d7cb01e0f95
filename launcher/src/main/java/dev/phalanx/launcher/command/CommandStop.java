package dev.phalanx.launcher.command;

import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.process.Signals;
import java.io.PrintStream;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * What Ctrl-C, SIGTERM and a terminal that closes do to a command that has no workers, or none yet:
 * its thread is interrupted, so that no unfinished file stays, and the process ends with the status
 * of who was asked to stop. A thread that computes and does not look is left to it after a moment.
 * Once there are workers the signals are theirs.
 */
final class CommandStop {
  private static final long PATIENCE_MILLIS = 500;

  private final Thread command;
  private final PrintStream error;
  private final AtomicReference<@Nullable ExitStatus> asked = new AtomicReference<>();
  private final AtomicBoolean hasTold = new AtomicBoolean();

  private CommandStop(Thread command, PrintStream error) {
    this.command = command;
    this.error = error;
  }

  /**
   * @param command the thread that runs the command
   */
  static CommandStop install(Thread command, PrintStream error) {
    CommandStop stop = new CommandStop(command, error);
    Signals.handle("INT", () -> stop.ask(ExitStatus.INTERRUPTED));
    Signals.handle("TERM", () -> stop.ask(ExitStatus.STOPPED));
    Signals.handle("HUP", stop::hangUp);
    return stop;
  }

  /** Where a signal ends the command: tells the user, once, and gives the status to end with. */
  Optional<ExitStatus> tell() {
    ExitStatus status = asked.get();
    if (status != null && hasTold.compareAndSet(false, true)) {
      error.println("phalanx: " + status.meaning());
      error.flush();
    }
    return Optional.ofNullable(status);
  }

  /** A terminal that closes may say it twice. */
  private void hangUp() {
    if (asked.get() == null) {
      ask(ExitStatus.STOPPED);
    }
  }

  private void ask(ExitStatus status) {
    if (asked.compareAndSet(null, status)) {
      command.interrupt();
      awaitEnd();
    }
    tell(); // it does not look, or somebody has asked twice
    Runtime.getRuntime().exit(status.code());
  }

  private void awaitEnd() {
    try {
      command.join(PATIENCE_MILLIS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
