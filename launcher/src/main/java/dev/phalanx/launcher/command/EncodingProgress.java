package dev.phalanx.launcher.command;

import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.launcher.terminal.Quantities;
import dev.phalanx.trainer.data.DataPreparation;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/**
 * Shows how far the encoding of texts is: in a live line on a terminal, and elsewhere in one line,
 * if it takes long enough that somebody might wonder.
 */
final class EncodingProgress implements DataPreparation.Progress, AutoCloseable {
  private static final long NANOS_BEFORE_A_LINE = TimeUnit.SECONDS.toNanos(2);

  private final Console console;
  private final boolean isQuiet;
  private final LongSupplier nanoTime;
  private final long startNanos;
  private boolean hasLine;

  EncodingProgress(Console console, boolean isQuiet, LongSupplier nanoTime) {
    this.console = console;
    this.isQuiet = isQuiet;
    this.nanoTime = nanoTime;
    this.startNanos = nanoTime.getAsLong();
  }

  @Override
  public void advanced(long bytesDone, long bytesTotal, long tokens) {
    if (isQuiet) {
      return;
    }
    String state =
        "Encoding text: read "
            + Quantities.bytes(bytesDone)
            + " of "
            + Quantities.bytes(bytesTotal)
            + ", "
            + Quantities.count(tokens)
            + " tokens";
    console.live(state);
    boolean isLong = nanoTime.getAsLong() - startNanos >= NANOS_BEFORE_A_LINE;
    if (isLong && !hasLine && !console.isTerminal()) {
      console.line(state);
      hasLine = true;
    }
  }

  /** What comes next, an error say, has a line of its own. */
  @Override
  public void close() {
    console.endLive();
  }
}
