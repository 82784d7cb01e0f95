package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The benchmarks' pretended hosts, and what they say where there can be none. */
@Timeout(120)
final class SlowNetworkTest {
  private static final int SKIPPED = 77;

  /** Nobody listens there, so the answer takes a round trip. */
  private static final String MILLIS_TO_THE_OTHER_HOST =
      """
      [ $RANK = 1 ] && exit
      start=$(date +%s%3N)
      (exec 3<>/dev/tcp/198.18.0.2/9) 2>/dev/null
      echo $(($(date +%s%3N) - start))
      """;

  @TempDir private Path folder = Path.of("");

  private static String script(String name) {
    return Path.of("../bench").resolve(name).toAbsolutePath().normalize().toString();
  }

  /** The command that {@link Command} adds is what the shell gets as its arguments. */
  private Command.Outcome onTwoHosts(String link, String shellCommand) throws Exception {
    Command.Outcome outcome =
        Command.in(folder)
            .by(List.of(script("lib/slow-network.sh"), "2", "1", link, "bash", "-c", shellCommand))
            .run();
    assumeTrue(outcome.status() != SKIPPED, outcome.error());
    return outcome;
  }

  @Test
  void everyRankRunsAndTheFirstFailureIsTheStatus() throws Exception {
    Command.Outcome outcome = onTwoHosts("1gbit", "echo $RANK of $WORLD_SIZE; exit $((RANK * 7))");

    assertThat(outcome.output()).isEqualTo("0 of 2\n");
    assertThat(outcome.error()).isEqualTo("1 of 2\n");
    assertThat(outcome.status()).isEqualTo(7);
  }

  @Test
  void aDelayIsWaitedForOnTheWayThereAndBack() throws Exception {
    Command.Outcome outcome = onTwoHosts("1gbit+30ms", MILLIS_TO_THE_OTHER_HOST);

    assertThat(outcome.status()).as(outcome.error()).isZero();
    assertThat(Integer.parseInt(outcome.output().strip())).isGreaterThanOrEqualTo(60);
  }

  @ParameterizedTest
  @ValueSource(strings = {"lib/slow-network.sh 2 1 1gbit", "slow-link.sh", "slow-training.sh"})
  void whoMayNotHaveThemIsTold(String command) throws Exception {
    Path id = Files.writeString(folder.resolve("id"), "#!/bin/sh\necho 1000\n");
    assertThat(id.toFile().setExecutable(true)).isTrue();
    List<String> words = List.of(command.split(" "));
    Command.Outcome outcome =
        Command.in(folder)
            .with("PATH", folder + ":" + System.getenv("PATH"))
            .by(
                Stream.concat(
                        Stream.of(script(words.get(0))), words.subList(1, words.size()).stream())
                    .toList())
            .run();

    assertThat(outcome.status()).isEqualTo(SKIPPED);
    assertThat(outcome.error())
        .isEqualTo("skipped: only root can make the networks of pretended hosts\n");
    assertThat(outcome.output()).isEmpty();
  }
}
