package dev.phalanx.integration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A network that falls apart while a job runs on two hosts. */
@Timeout(180)
final class PartitionTest {
  private static final String PLAN =
      """
      model: {family: gpt2, layers: 1, hidden: 32, heads: 2, sequence: 32, vocab: 256}
      data: {kind: reference}
      batch: {global: 4, micro: 1}
      optimizer: {kind: adamw, lr: 1.0e-3}
      steps: 100000000
      threads: 1
      log: {every: 1, report: report.json}
      """;

  @TempDir private Path folder = Path.of("");

  private Command rank(int rank, TwoHosts hosts) throws Exception {
    Path own = Files.createDirectory(folder.resolve("host" + rank));
    Files.writeString(own.resolve("plan.yaml"), PLAN);
    return Command.in(own)
        .by(hosts.runner(rank, own))
        .with("RANK", Integer.toString(rank))
        .with("WORLD_SIZE", "2")
        .with("MASTER_ADDR", TwoHosts.address(0))
        .with("MASTER_PORT", "29500")
        .with("PHALANX_TOKEN_FILE", folder.resolve("job.token").toString());
  }

  @Test
  void bothSidesOfAPartitionEndWithinTenSecondsAndSayWhy() throws Exception {
    assumeTrue(TwoHosts.arePossible(), "needs root and ip, nsenter and unshare");
    assertThat(Command.in(folder).run("token", "job.token").status()).isZero();
    String[] train = {"train", "plan.yaml", "--external"};
    try (TwoHosts hosts = new TwoHosts();
        Command.Started first = rank(0, hosts).start(train);
        Command.Started second = rank(1, hosts).start(train)) {
      first.awaitErrorLine(line -> line.startsWith("step 2/"));
      hosts.part(1);
      long start = System.nanoTime();
      Command.Outcome ofFirst = first.await();
      Command.Outcome ofSecond = second.await();
      // As where a rank is stopped: 10 s until it is known, and the end of the processes.
      assertThat(System.nanoTime() - start).isLessThan(TimeUnit.SECONDS.toNanos(14));
      assertThat(ofFirst.status()).as(ofFirst.error()).isEqualTo(70);
      assertThat(ofFirst.error()).contains("rank 1 has given no sign of life for 6 s");
      assertThat(ofSecond.status()).as(ofSecond.error()).isEqualTo(70);
      assertThat(ofSecond.error())
          .contains("rank 0 may be gone", "given no sign of life for 6 s", "may be cut off");
    }
  }
}
