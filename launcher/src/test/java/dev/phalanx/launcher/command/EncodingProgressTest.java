package dev.phalanx.launcher.command;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.launcher.terminal.Console;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.OptionalInt;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

final class EncodingProgressTest {
  private final ByteArrayOutputStream error = new ByteArrayOutputStream();
  private final AtomicLong nanos = new AtomicLong();

  private EncodingProgress to(OptionalInt columns, boolean isQuiet) {
    PrintStream stream = new PrintStream(error, true, StandardCharsets.UTF_8);
    return new EncodingProgress(new Console(stream, stream, columns), isQuiet, nanos::get);
  }

  private String written() {
    return error.toString(StandardCharsets.UTF_8);
  }

  @Test
  void elsewhereThanOnATerminalALongEncodingIsOneLine() {
    try (EncodingProgress progress = to(OptionalInt.empty(), false)) {
      progress.advanced(1000, 4000, 300);
      assertThat(written()).isEmpty();
      nanos.addAndGet(TimeUnit.SECONDS.toNanos(3));
      progress.advanced(2000, 4000, 600);
      progress.advanced(4000, 4000, 1200);
    }
    assertThat(written().lines()).singleElement().asString().contains("Encoding", "600 tokens");
  }

  @Test
  void aQuietCommandShowsNothing() {
    try (EncodingProgress progress = to(OptionalInt.empty(), true)) {
      nanos.addAndGet(TimeUnit.SECONDS.toNanos(3));
      progress.advanced(2000, 4000, 600);
    }
    assertThat(written()).isEmpty();
  }

  @Test
  void onATerminalItIsALineThatChanges() {
    try (EncodingProgress progress = to(OptionalInt.of(80), false)) {
      progress.advanced(1000, 4000, 300);
      assertThat(written()).contains("300 tokens").doesNotContain("\n");
      progress.advanced(4000, 4000, 900);
    }
    assertThat(written()).contains("900 tokens").endsWith("\n");
  }
}
