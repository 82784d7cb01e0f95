package dev.phalanx.launcher.terminal;

import java.io.PrintStream;
import java.util.OptionalInt;

/**
 * The launcher's standard output and error. Results go to standard output, everything else to
 * standard error; on a terminal the last line of standard error can be live, that is redrawn in
 * place. Any thread.
 */
public final class Console {
  private static final String ERASE_LINE = "\r\u001b[K";

  private final PrintStream output;
  private final PrintStream error;
  private final OptionalInt columns;
  private String live = "";

  /**
   * @param columns the width of the terminal that shows standard error; empty where it is none
   */
  public Console(PrintStream output, PrintStream error, OptionalInt columns) {
    this.output = output;
    this.error = error;
    this.columns = columns;
  }

  /** Whether a live line can be shown. */
  public boolean isTerminal() {
    return columns.isPresent();
  }

  /** A line of log or progress. */
  public synchronized void line(String text) {
    if (live.isEmpty()) {
      error.println(text);
    } else {
      error.print(ERASE_LINE + text + System.lineSeparator() + live);
    }
    error.flush();
  }

  /** Replaces the live line; nothing happens where there is no terminal. */
  public synchronized void live(String text) {
    if (columns.isPresent()) {
      live = shorten(text, columns.getAsInt() - 1);
      error.print(ERASE_LINE + live);
      error.flush();
    }
  }

  /** Leaves the live line as it stands and goes on below it. */
  public synchronized void endLive() {
    if (!live.isEmpty()) {
      live = "";
      error.println();
      error.flush();
    }
  }

  /** A line of the result. */
  public synchronized void result(String text) {
    endLive();
    output.println(text);
    output.flush();
  }

  private static String shorten(String text, int width) {
    return text.length() <= width ? text : text.substring(0, Math.max(0, width));
  }
}
