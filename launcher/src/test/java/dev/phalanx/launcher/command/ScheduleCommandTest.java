package dev.phalanx.launcher.command;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(60)
final class ScheduleCommandTest {
  @TempDir private Path folder = Path.of("");

  private static MainTest.Outcome schedule(String... options) {
    List<String> command = new ArrayList<>(List.of("schedule"));
    command.addAll(List.of(options));
    return MainTest.run(command.toArray(String[]::new));
  }

  @Test
  void aScheduleIsTimedInFixedWords() throws Exception {
    MainTest.Outcome outcome =
        schedule(
            ("--kind 1f1b --stages 8 --micro-batches 24 --virtual 1 --forward 18.522"
                    + " --backward-input 18.086 --backward-weight 9.337 --hop 0.601 --json")
                .split(" "));

    assertThat(outcome.status()).isZero();
    JsonNode found = new ObjectMapper().readTree(outcome.output());
    assertThat(found.path("bubble_rate").doubleValue()).isCloseTo(0.2431, within(5e-5));
    assertThat(found.path("cost").doubleValue())
        .isCloseTo(24 * 45.945 / (1 - found.path("bubble_rate").doubleValue()), within(1e-6));
    assertThat(found.path("deadlock_free").booleanValue()).isTrue();
    assertThat(found.path("peak_micro_batches").toString()).isEqualTo("[8,7,6,5,4,3,2,1]");
  }

  /** Times are a rank's, whatever number of stages it has. */
  @Test
  void workDoesNotDependOnTheStagesOfARank() throws Exception {
    for (String stages : List.of("1", "2", "4")) {
      JsonNode found =
          new ObjectMapper()
              .readTree(
                  schedule("--kind", "interleaved", "--stages", "4", "--virtual", stages, "--json")
                      .output());
      assertThat(found.path("cost").doubleValue() * (1 - found.path("bubble_rate").doubleValue()))
          .isCloseTo(24, within(1e-9));
    }
  }

  /** F of rank 0, F and B of rank 1, B of rank 0: 2 + 1 + 1 + 2. */
  @Test
  void ranksMayTakeTimesOfTheirOwn() throws Exception {
    String options = "--kind gpipe --stages 2 --micro-batches 1 --backward-weight 0";
    MainTest.Outcome outcome =
        schedule((options + " --forward 2,1 --backward-input 2,1 --json").split(" "));
    JsonNode found = new ObjectMapper().readTree(outcome.output());
    assertThat(found.path("makespan").doubleValue()).isCloseTo(6, within(1e-9));
    assertThat(found.path("waits").path(0).doubleValue()).isCloseTo(2, within(1e-9));
    assertThat(found.path("waits").path(1).doubleValue()).isCloseTo(4, within(1e-9));

    MainTest.Outcome three = schedule((options + " --forward 1,2,3").split(" "));
    assertThat(three.status()).isEqualTo(64);
    assertThat(three.error()).contains("--forward has 3 times for 2 ranks");
  }

  /** Rank 0 has two stages of half its time each, rank 1 one. */
  @Test
  void stagesOfATableNeedNotBeEven() throws Exception {
    Path table = Files.writeString(folder.resolve("table"), "0F0 2F0 2B0 0B0\n1F0 1B0\n");
    JsonNode found =
        new ObjectMapper()
            .readTree(schedule("--kind", table.toString(), "--hop", "0.5", "--json").output());
    // F/2, hop, F, hop, F/2, B, hop, 2 B, hop, B
    assertThat(found.path("cost").doubleValue())
        .isCloseTo(0.5 + 1 + 0.5 + 1 + 2 + 1 + 4 * 0.5, within(1e-9));
  }

  @Test
  void aTableThatWasWrittenIsReadAndDrawn() throws Exception {
    Path table = folder.resolve("table");
    Path picture = folder.resolve("picture.svg");
    MainTest.Outcome named = schedule("--kind", "zb-h2", "--table", table.toString());
    MainTest.Outcome read = schedule("--kind", table.toString(), "--svg", picture.toString());

    assertThat(named.status()).isZero();
    assertThat(read.status()).isZero();
    assertThat(read.output().lines().limit(4))
        .containsExactlyElementsOf(named.output().lines().limit(4).toList());
    assertThat(read.output()).contains("rank 3 ", "8 micro-batches", "holds at most: 7 7 7 7");
    assertThat(Files.readString(picture)).startsWith("<svg").endsWith("</svg>\n");
  }

  @ParameterizedTest
  @CsvSource({
    "--kind=1b1f, the names are gpipe",
    "--stages=0, --stages is 0",
    "--micro-batches=-1, --micro-batches is -1",
    "--virtual=0, --virtual is 0",
    "--virtual=2, several are for interleaved",
    "--hop=-1, --hop is -1.0",
    "--forward=NaN, --forward is NaN",
    "--stages=100000 --micro-batches=100000, smaller numbers",
    "--stages=3.5, stages"
  })
  void mistakesAreToldBeforeAnythingIsDone(String options, String message) {
    MainTest.assertWrongUsage(schedule(options.split(" ")), message);
  }

  @Test
  void aTableThatNeverEndsIsRefused() throws Exception {
    Path table = Files.writeString(folder.resolve("table"), "0F0 0B0 0F1 0B1\n1F1 1F0 1B0 1B1\n");
    MainTest.assertWrongUsage(
        schedule("--kind", table.toString()),
        "never ends",
        "rank 1 waits before 1F1 for 0F1 of rank 0");
    MainTest.assertWrongUsage(
        schedule("--kind", table.toString(), "--stages", "2"), "the table", "has its own");
    Files.writeString(table, "0F0 0B0\n1F0 1X0\n");
    MainTest.assertWrongUsage(schedule("--kind", table.toString()), "line 2", "1X0");
  }

  @Test
  void aFileThatIsNoTextIsRefusedByName() throws Exception {
    Path file = folder.resolve("table");
    Files.write(file, new byte[] {(byte) 0xff, (byte) 0xfe, 0, 1});
    MainTest.Outcome outcome = schedule("--kind", file.toString());
    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.error()).contains(file + " is no text");
  }
}
