package dev.phalanx.launcher.process;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

final class DeathsTest {
  @ParameterizedTest
  @CsvSource({
    "129, signal 1 (SIGHUP)",
    "134, signal 6 (SIGABRT)",
    "135, signal 7 (SIGBUS)",
    "137, signal 9 (SIGKILL)",
    "139, signal 11 (SIGSEGV)",
    "143, signal 15 (SIGTERM)",
    "163, signal 35.",
    "192, signal 64."
  })
  void aSignalIsNamed(int code, String name) {
    Failure failure = Deaths.describe(code, 71, "", false);

    assertThat(failure.status()).isEqualTo(ExitStatus.RANK_FAILED);
    assertThat(failure.blame()).isEqualTo(Failure.Blame.OWN);
    assertThat(failure.message()).startsWith("killed by " + name);
  }

  @Test
  void aCrashInNativeCodePointsToTheCrashReport() {
    assertThat(Deaths.describe(139, 71, "", false).message()).contains("hs_err_pid71.log");
  }

  @Test
  void anAbortPointsToWhatWasSaidSinceThereMayBeNoReport() {
    assertThat(Deaths.describe(134, 71, "", false).message())
        .contains("said above")
        .contains("hs_err_pid71.log where there is one");
  }

  @Test
  void aKillWithoutWantOfMemoryPointsToWhoMayHaveDoneIt() {
    assertThat(Deaths.describe(137, 71, "", false).message())
        .contains("resource manager")
        .contains("--resume")
        .doesNotContain("memory");
  }

  @Test
  void aKillWhileTheKernelRanOutOfMemoryIsToldAsSuch() {
    Failure failure = Deaths.describe(137, 71, "", true);

    assertThat(failure.status()).isEqualTo(ExitStatus.OUT_OF_MEMORY);
    assertThat(failure.message()).contains("by the kernel").contains("batch.micro");
  }

  @Test
  void otherSignalsAreNoWantOfMemory() {
    assertThat(Deaths.describe(139, 71, "", true).status()).isEqualTo(ExitStatus.RANK_FAILED);
  }

  @ParameterizedTest
  @EnumSource(
      value = ExitStatus.class,
      mode = EnumSource.Mode.EXCLUDE,
      names = {"DONE", "INTERRUPTED"})
  void aStatusOfOursKeepsItsMeaning(ExitStatus status) {
    assertThat(Deaths.describe(status.code(), 71, "", false).status()).isEqualTo(status);
  }

  @ParameterizedTest
  @CsvSource({"0", "1", "3", "63", "128", "193", "255"})
  void anyOtherStatusIsAFailureOfTheRank(int code) {
    Failure failure = Deaths.describe(code, 71, "", false);

    assertThat(failure.status()).isEqualTo(ExitStatus.RANK_FAILED);
    assertThat(failure.message())
        .startsWith("the process ended with status " + code + " before its work was done. ");
  }

  @Test
  void theLastLineIsQuoted() {
    assertThat(Deaths.describe(1, 71, "Error: no such class", false).message())
        .contains("; its last line was: Error: no such class. ");
  }

  @Test
  void aFailureNamesRankWorldAndProcessOnce() {
    Failure plain = new Failure(ExitStatus.RANK_FAILED, Failure.Blame.OWN, "it broke.", "");
    Failure named =
        new Failure(
            ExitStatus.RANK_FAILED,
            Failure.Blame.OTHERS,
            "rank 3/8 all_reduce #12 in group world: it broke.",
            "");

    assertThat(new RankFailure(3, 71, plain, false).sentence(8, "hostB"))
        .isEqualTo("rank 3/8 (hostB pid 71): it broke.");
    assertThat(new RankFailure(3, 71, named, false).sentence(8, "hostB"))
        .isEqualTo("rank 3/8 (hostB pid 71) all_reduce #12 in group world: it broke.");
  }
}
