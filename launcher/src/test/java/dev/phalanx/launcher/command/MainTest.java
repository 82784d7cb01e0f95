package dev.phalanx.launcher.command;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.launcher.ExitStatus;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

@Timeout(60)
final class MainTest {
  /** How a command line ended and what it wrote. */
  record Outcome(int status, String output, String error) {}

  /** Runs the command in this JVM. */
  static Outcome run(String... arguments) {
    ByteArrayOutputStream output = new ByteArrayOutputStream();
    ByteArrayOutputStream error = new ByteArrayOutputStream();
    PrintStream before = System.out;
    System.setOut(new PrintStream(output, true, StandardCharsets.UTF_8));
    try {
      int status =
          Main.execute(
              arguments, new PrintStream(error, true, StandardCharsets.UTF_8), Optional::empty);
      return new Outcome(
          status, output.toString(StandardCharsets.UTF_8), error.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(before);
    }
  }

  static void assertWrongUsage(Outcome outcome, String... said) {
    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.output()).isEmpty();
    assertThat(outcome.error()).startsWith("phalanx: ").contains(said).doesNotContain("\tat ");
  }

  @Test
  void theVersionIsPrinted() {
    Outcome outcome = run("--version");

    assertThat(outcome.status()).isZero();
    assertThat(outcome.output()).matches("phalanx \\d+\\.\\d+\\.\\d+\\R");
    assertThat(outcome.error()).isEmpty();
  }

  @Test
  void helpListsCommandsAndEveryExitStatus() {
    Outcome outcome = run("--help");

    assertThat(outcome.status()).isZero();
    assertThat(outcome.error()).isEmpty();
    assertThat(outcome.output())
        .contains(
            "train",
            "generate",
            "data",
            "checkpoint",
            "plan",
            "schedule",
            "bench",
            "token",
            "doctor",
            "Exit status:");
  }

  @ParameterizedTest
  @EnumSource(ExitStatus.class)
  void everyExitStatusIsDocumented(ExitStatus status) throws IOException {
    assertThat(Files.readString(Path.of("../docs/exit-statuses.md")))
        .contains("| " + status.code() + " | ");
  }

  @Test
  void theListOfExitStatusesIsTheTable() {
    CommandLine.Command command = Main.class.getAnnotation(CommandLine.Command.class);
    assertThat(command).isNotNull();

    assertThat(command.exitCodeList()).hasSameSizeAs(ExitStatus.values());
    assertThat(command.exitCodeList())
        .zipSatisfy(
            ExitStatus.values(),
            (shown, status) ->
                assertThat(shown).startsWith(status.code() + ":" + status.meaning()));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "train",
        "generate",
        "data",
        "checkpoint",
        "plan",
        "schedule",
        "bench",
        "token",
        "doctor"
      })
  void everyCommandHasHelp(String command) {
    Outcome outcome = run(command, "--help");

    assertThat(outcome.status()).isZero();
    assertThat(outcome.output()).startsWith("Usage: phalanx " + command);
    assertThat(outcome.error()).isEmpty();
  }

  @Test
  void noCommandIsWrongUsage() {
    assertWrongUsage(run(), "name a command", "Try 'phalanx --help'");
  }

  @Test
  void anUnknownCommandIsWrongUsageAndAnswersWithTheNearest() {
    assertWrongUsage(run("trian"), "trian", "train");
  }

  @Test
  void anUnknownOptionIsWrongUsageAndAnswersWithTheNearest() {
    assertWrongUsage(run("train", "plan.yaml", "--worker=2"), "--worker=2", "--workers");
  }

  @Test
  void anOptionThatLooksLikeNoneIsWrongUsage() {
    assertWrongUsage(run("--frobnicate"), "--frobnicate");
  }

  @Test
  void aWordWhereANumberBelongsIsWrongUsage() {
    assertWrongUsage(
        run("train", "plan.yaml", "--workers", "two"), "--workers", "two", "phalanx train --help");
  }

  @Test
  void aCommandWithoutItsFileIsWrongUsage() {
    assertWrongUsage(run("train"), "FILE");
  }

  @ParameterizedTest
  @ValueSource(strings = {"data", "checkpoint", "bench"})
  void aCommandWithoutItsPartIsWrongUsage(String command) {
    assertWrongUsage(run(command), "name what to ", "phalanx " + command + " --help");
  }

  @Test
  void aPlanThatIsNotThereIsWrongUsage(@TempDir Path folder) {
    assertWrongUsage(run("train", folder.resolve("plan.yaml").toString()), "plan.yaml");
  }

  @Test
  void everyMistakeOfAPlanHasALineOfItsOwn(@TempDir Path folder) throws IOException {
    Path plan = folder.resolve("plan.yaml");
    Files.writeString(plan, "nmae: a\nstpes: 3\n");

    Outcome outcome = run("train", plan.toString());

    assertWrongUsage(outcome, "plan.yaml:1:1: nmae", "plan.yaml:2:1: stpes");
    assertThat(outcome.error().lines()).allMatch(line -> line.startsWith("phalanx: "));
  }

  @ParameterizedTest
  @ValueSource(strings = {"--ranks=2", "--in-process", "--port=29500"})
  void whereRanksRunIsSaidOnce(String option) {
    assertWrongUsage(
        run("bench", "collectives", "--external", option),
        option.replaceFirst("=.*", ""),
        "does not go with --external");
  }

  @ParameterizedTest
  @ValueSource(strings = {"--token-file=job.token", "--address=198.18.0.1"})
  void whatOnlyExternalRanksHaveGoesWithThemAlone(String option) {
    assertWrongUsage(
        run("train", "plan.yaml", option), option.replaceFirst("=.*", ""), "--external");
  }

  @Test
  void aTokenIsWrittenOnceAndNeverShown(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("job.token");

    Outcome first = run("token", file.toString());
    String token = Files.readString(file);
    Outcome second = run("token", file.toString());

    assertThat(first).isEqualTo(new Outcome(0, "", ""));
    assertThat(token).matches("[0-9a-f]{64}\n");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
    assertWrongUsage(second, file.toString(), "already");
    assertThat(file).hasContent(token);
  }

  @Test
  void verboseAddsTheStackTrace(@TempDir Path folder) {
    Outcome outcome = run("train", folder.resolve("plan.yaml").toString(), "--verbose");

    assertThat(outcome.status()).isEqualTo(64);
    assertThat(outcome.error()).contains("ConfigurationException").contains("\tat dev.phalanx.");
  }

  @Test
  void aMissingCheckpointIsNoWrongUsage(@TempDir Path folder) {
    Outcome outcome = run("checkpoint", "inspect", folder.resolve("none").toString());

    assertThat(outcome.status()).isIn(74, 76);
    assertThat(outcome.error()).startsWith("phalanx: ").contains("none");
  }
}
