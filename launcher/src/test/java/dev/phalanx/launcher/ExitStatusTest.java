package dev.phalanx.launcher;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

final class ExitStatusTest {
  @Test
  void everyCodeHasOneStatus() {
    assertThat(ExitStatus.values())
        .allSatisfy(status -> assertThat(ExitStatus.ofCode(status.code())).contains(status))
        .extracting(ExitStatus::code)
        .containsExactly(0, 64, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 130);
  }

  @Test
  void codesOfOthersHaveNone() {
    assertThat(ExitStatus.ofCode(1)).isEmpty();
    assertThat(ExitStatus.ofCode(137)).isEmpty();
  }
}
