package dev.phalanx.launcher.terminal;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;

/** A console whose streams are kept, and what a terminal would show of them. */
final class CapturedConsole {
  private static final String ERASE_LINE = "\r\u001b[K";

  private final ByteArrayOutputStream output = new ByteArrayOutputStream();
  private final ByteArrayOutputStream error = new ByteArrayOutputStream();
  private final Console console;

  private CapturedConsole(OptionalInt columns) {
    console =
        new Console(
            new PrintStream(output, true, StandardCharsets.UTF_8),
            new PrintStream(error, true, StandardCharsets.UTF_8),
            columns);
  }

  static CapturedConsole terminal(int columns) {
    return new CapturedConsole(OptionalInt.of(columns));
  }

  static CapturedConsole file() {
    return new CapturedConsole(OptionalInt.empty());
  }

  Console console() {
    return console;
  }

  String output() {
    return output.toString(StandardCharsets.UTF_8);
  }

  String error() {
    return error.toString(StandardCharsets.UTF_8);
  }

  /** The lines that stand on the terminal now, the live one last. */
  List<String> shown() {
    List<String> lines = new ArrayList<>();
    for (String line : error().split(System.lineSeparator(), -1)) {
      lines.add(line.substring(Math.max(0, line.lastIndexOf(ERASE_LINE))).replace(ERASE_LINE, ""));
    }
    return lines;
  }

  /** Every live line that was ever drawn. */
  List<String> drawn() {
    return Arrays.stream(error().split("\r\u001b\\[K|" + System.lineSeparator(), -1)).toList();
  }
}
