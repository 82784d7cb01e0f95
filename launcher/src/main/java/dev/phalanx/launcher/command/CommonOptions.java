package dev.phalanx.launcher.command;

import dev.phalanx.launcher.terminal.Console;
import java.util.OptionalInt;
import picocli.CommandLine.Option;

/** What every command takes. */
final class CommonOptions {
  @Option(names = "--json", description = "print the result as one JSON text on standard output")
  boolean isJson;

  @Option(
      names = {"-q", "--quiet"},
      description = "show no progress, only errors and the result")
  boolean isQuiet;

  @Option(
      names = {"-v", "--verbose"},
      description = "show more log, and stack traces with errors")
  boolean isVerbose;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "show this help")
  boolean isHelp;

  /** The console of this process: with a live line where standard error is a terminal. */
  Console console() {
    return new Console(System.out, System.err, isQuiet ? OptionalInt.empty() : terminalColumns());
  }

  /**
   * The width of the terminal; the start script measures it, since Java cannot ask which of its
   * streams is one.
   */
  private static OptionalInt terminalColumns() {
    String columns = System.getProperty("phalanx.columns", "");
    try {
      int width = columns.isBlank() ? 0 : Integer.parseInt(columns);
      return width > 0 ? OptionalInt.of(width) : OptionalInt.empty();
    } catch (NumberFormatException e) {
      return OptionalInt.empty();
    }
  }
}
