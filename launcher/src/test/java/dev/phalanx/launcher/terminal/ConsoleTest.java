package dev.phalanx.launcher.terminal;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.AlphaChars;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.StringLength;

final class ConsoleTest {
  @Property(tries = 200)
  void aLiveLineNeverReachesTheTerminalsLastColumn(
      @ForAll @IntRange(min = 1, max = 120) int columns,
      @ForAll @AlphaChars @StringLength(max = 200) String text) {
    CapturedConsole captured = CapturedConsole.terminal(columns);

    captured.console().live(text);

    assertThat(captured.drawn()).allSatisfy(line -> assertThat(line).hasSizeLessThan(columns));
    assertThat(text).startsWith(captured.shown().get(0));
  }

  @Example
  void linesStandAboveTheLiveLine() {
    CapturedConsole captured = CapturedConsole.terminal(80);

    captured.console().live("step 1");
    captured.console().line("[rank 0] a warning");
    captured.console().live("step 2");

    assertThat(captured.shown()).containsExactly("[rank 0] a warning", "step 2");
  }

  @Example
  void aResultComesBelowTheLiveLine() {
    CapturedConsole captured = CapturedConsole.terminal(80);

    captured.console().live("step 2");
    captured.console().result("Done");
    captured.console().line("more");

    assertThat(captured.shown()).containsExactly("step 2", "more", "");
    assertThat(captured.output()).isEqualTo("Done" + System.lineSeparator());
  }

  @Example
  void withoutATerminalThereAreOnlyPlainLines() {
    CapturedConsole captured = CapturedConsole.file();

    captured.console().live("step 1");
    captured.console().line("a line");
    captured.console().endLive();
    captured.console().result("Done");

    assertThat(captured.error()).isEqualTo("a line" + System.lineSeparator());
    assertThat(captured.output()).isEqualTo("Done" + System.lineSeparator());
  }
}
