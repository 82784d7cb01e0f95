package dev.phalanx.launcher.process;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import dev.phalanx.launcher.event.EventCodec;
import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.trainer.Evaluation;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.Unit;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Groups of small shell processes. Every worker, and what it starts, holds a named pipe open for
 * writing, and so does the test: when the test has closed its end, the reader sees the end of the
 * pipe as soon as no process of the group is left.
 */
@Timeout(60)
final class WorkerGroupTest {
  private static final long PATIENCE_SECONDS = 20;

  /** For those of which a test knows that they have nothing to say. */
  private static final Duration SHORT = Duration.ofMillis(50);

  /** Long graces, so that an outcome which comes in time does not owe it to one that passed. */
  private static final Timing PATIENT =
      new Timing(
          Duration.ofSeconds(20),
          Duration.ofSeconds(20),
          SHORT,
          Duration.ofSeconds(20),
          Duration.ofSeconds(20),
          Duration.ofSeconds(20));

  private static final String WAIT = "read -r go\n";

  @TempDir Path folder = Path.of("");
  private Path pipe = Path.of("");
  private Future<Boolean> endOfPipe = CompletableFuture.completedFuture(true);
  private OutputStream ownEndOfPipe = OutputStream.nullOutputStream();
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final ConcurrentLinkedQueue<String> log = new ConcurrentLinkedQueue<>();
  private final List<WorkerEvent> heard = new ArrayList<>();
  private @Nullable WorkerGroup group;

  /** What a test does when an event comes. */
  private interface Reaction {
    void to(WorkerEvent event, WorkerGroup group);
  }

  private static final Reaction NOTHING = (event, group) -> {};

  @BeforeEach
  void makePipe() throws Exception {
    pipe = folder.resolve("alive");
    Process mkfifo = new ProcessBuilder("mkfifo", pipe.toString()).start();
    assertThat(mkfifo.waitFor(PATIENCE_SECONDS, SECONDS)).isTrue();
    assertThat(mkfifo.exitValue()).isZero();
    endOfPipe =
        threads.submit(
            () -> {
              try (FileInputStream input = new FileInputStream(pipe.toFile())) {
                return input.read() < 0;
              }
            });
    ownEndOfPipe = new FileOutputStream(pipe.toFile());
  }

  @AfterEach
  void close() throws Exception {
    ownEndOfPipe.close();
    if (group != null) {
      group.close();
    }
    threads.shutdownNow();
  }

  @Test
  void aStopThatIsAskedForBeforeTheAssignmentComesAfterIt() throws Exception {
    WorkerGroup started =
        WorkerGroup.start(
            specs(
                "read -r first\nread -r second\n[ \"$first $second\" = 'plan stop' ] || exit 9\n"
                    + tell(finished(0))),
            1,
            log::add,
            heard::add,
            PATIENT);
    group = started;
    started.requestStop();
    started.assign(0, "plan");
    GroupOutcome outcome = threads.submit(started::await).get(PATIENCE_SECONDS, SECONDS);
    assertThat(outcome).isInstanceOf(GroupOutcome.Finished.class);
    assertNoProcessIsLeft();
  }

  @Test
  void onlyWorkersOfMissingRanksAreAskedWhereTheyAre() throws Exception {
    String asked = "read -r first\nread -r second\n[ $second = %s ] || exit 9\n";
    // A JVM answers SIGQUIT; a shell would end by it.
    String hearsQuit = "trap 'echo quit >&2' QUIT\n";
    GroupOutcome outcome =
        run(
            PATIENT,
            (event, started) -> {
              if (event.rank() == 1 && log.isEmpty()) {
                started.assign(0, "plan");
                started.assign(1, "plan");
                started.askWhere(List.of(1, 2));
                started.requestStop();
              }
            },
            asked.formatted("stop") + tell(finished(0)),
            hearsQuit + tell(finished(1)) + asked.formatted("where"));
    assertThat(outcome).isInstanceOf(GroupOutcome.Finished.class);
    if (Files.isDirectory(Path.of("/proc/self/task"))) {
      assertThat(log).anyMatch(line -> line.matches("\\[rank 1] thread [0-9]+ .*sh: .*"));
    }
  }

  private GroupOutcome run(Timing timing, Reaction reaction, String... scripts) throws Exception {
    WorkerGroup started =
        WorkerGroup.start(
            specs(scripts), scripts.length, log::add, event -> react(event, reaction), timing);
    group = started;
    GroupOutcome outcome = threads.submit(started::await).get(PATIENCE_SECONDS, SECONDS);
    assertNoProcessIsLeft();
    return outcome;
  }

  private void react(WorkerEvent event, Reaction reaction) {
    heard.add(event);
    WorkerGroup started = group;
    if (started != null) {
      reaction.to(event, started);
    }
  }

  private void assertNoProcessIsLeft() throws Exception {
    ownEndOfPipe.close();
    assertThat(endOfPipe.get(PATIENCE_SECONDS, SECONDS)).isTrue();
  }

  private List<WorkerSpec> specs(String... scripts) {
    List<WorkerSpec> specs = new ArrayList<>();
    for (int rank = 0; rank < scripts.length; rank++) {
      List<String> command = List.of("/bin/sh", "-c", "exec 3>'" + pipe + "'\n" + scripts[rank]);
      specs.add(new WorkerSpec(List.of(rank), command, Map.of()));
    }
    return specs;
  }

  private static String tell(WorkerEvent event) {
    return "printf '\\036%s\\n' '" + EventCodec.encode(event) + "'\n";
  }

  private static WorkerEvent.Finished finished(int rank) {
    return new WorkerEvent.Finished(
        rank,
        Optional.of(
            new JobResult(
                JobResult.Outcome.COMPLETED,
                1,
                2,
                Optional.empty(),
                4,
                Unit.TOKENS,
                5,
                6,
                Optional.empty(),
                Optional.empty())));
  }

  private static WorkerEvent.Failed failed(int rank, ExitStatus status, Failure.Blame blame) {
    return new WorkerEvent.Failed(
        rank, new Failure(status, blame, "rank " + rank + " broke", ""), Optional.empty());
  }

  private static WorkerEvent.Evaluated ready(int rank) {
    return new WorkerEvent.Evaluated(rank, 1, new Evaluation(2, 3, OptionalDouble.empty()));
  }

  private static RankFailure rootCause(GroupOutcome outcome) {
    assertThat(outcome).isInstanceOf(GroupOutcome.Failed.class);
    return ((GroupOutcome.Failed) outcome).rootCause();
  }

  @Test
  void aGroupIsFinishedWhenEveryRankIs() throws Exception {
    GroupOutcome outcome =
        run(
            PATIENT,
            NOTHING,
            tell(ready(0)) + tell(finished(0)),
            tell(finished(1)),
            tell(finished(2)));

    assertThat(outcome).isEqualTo(new GroupOutcome.Finished());
    assertThat(heard)
        .containsExactlyInAnyOrder(ready(0), finished(0), finished(1), finished(2))
        .containsSubsequence(ready(0), finished(0));
  }

  @Test
  void theFirstFailureEndsAllOthers() throws Exception {
    Timing impatient =
        new Timing(
            Duration.ofSeconds(20),
            Duration.ofMillis(50),
            SHORT,
            Duration.ofSeconds(20),
            Duration.ofSeconds(20),
            Duration.ofSeconds(20));
    WorkerEvent.Failed failure = failed(1, ExitStatus.INPUT_OUTPUT, Failure.Blame.OWN);

    GroupOutcome outcome =
        run(impatient, NOTHING, "exec sleep 600", tell(failure) + "exit 74", "exec sleep 600");

    RankFailure cause = rootCause(outcome);
    assertThat(cause.rank()).isEqualTo(1);
    assertThat(cause.failure()).isEqualTo(failure.failure());
    assertThat(cause.isDeath()).isFalse();
  }

  @Test
  void whoOnlyLostAPeerIsNotToBlameEvenWhereItSpeaksFirst() throws Exception {
    WorkerEvent.Failed loss = failed(0, ExitStatus.RANK_FAILED, Failure.Blame.OTHERS);
    WorkerEvent.Failed cause = failed(1, ExitStatus.NOT_FINITE, Failure.Blame.OWN);
    Timing timing =
        new Timing(
            Duration.ofSeconds(20),
            Duration.ofMillis(50),
            SHORT,
            Duration.ofSeconds(20),
            Duration.ofSeconds(20),
            Duration.ofSeconds(20));

    GroupOutcome outcome =
        run(
            timing,
            (event, workers) -> {
              if (event.equals(loss)) {
                workers.assign(1, "go");
              }
            },
            tell(loss) + "exit 70",
            WAIT + tell(cause) + "exit 78",
            "exec sleep 600");

    assertThat(rootCause(outcome).rank()).isEqualTo(1);
    assertThat(rootCause(outcome).failure().status()).isEqualTo(ExitStatus.NOT_FINITE);
  }

  @Test
  void aProcessThatWasKilledIsToBlameForWhatOthersTell() throws Exception {
    WorkerEvent.Failed first = failed(0, ExitStatus.RANK_FAILED, Failure.Blame.OWN);

    GroupOutcome outcome =
        run(
            PATIENT,
            (event, workers) -> {
              if (event.equals(first)) {
                workers.assign(1, "go");
              }
            },
            tell(first) + "exit 70",
            WAIT + "kill -9 $$",
            "exec sleep 600");

    RankFailure cause = rootCause(outcome);
    assertThat(cause.rank()).isEqualTo(1);
    assertThat(cause.isDeath()).isTrue();
    assertThat(cause.failure().message()).contains("signal 9 (SIGKILL)");
  }

  /** Ranks that have not met yet cannot hear of it from each other. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aWorkerThatIsStoppedWhileOthersWaitForItIsNamed(boolean isOtherDone) throws Exception {
    Duration patience = Duration.ofSeconds(20);
    GroupOutcome outcome =
        run(
            new Timing(patience, SHORT, SHORT, SHORT, patience, Duration.ofSeconds(2)),
            NOTHING,
            isOtherDone ? tell(finished(0)) : "exec sleep 600",
            "kill -STOP $$");

    RankFailure cause = rootCause(outcome);
    assertThat(cause.rank()).isEqualTo(1);
    assertThat(cause.failure().status()).isEqualTo(ExitStatus.RANK_FAILED);
    assertThat(cause.failure().message())
        .startsWith("its process has been stopped (SIGSTOP, or a debugger) for 2 s");
  }

  /** Those that wait for it are on other hosts. */
  @Test
  void aStoppedWorkerOfAJobThatRunsElsewhereTooIsNamed() throws Exception {
    Duration patience = Duration.ofSeconds(20);
    WorkerGroup started =
        WorkerGroup.start(
            specs("kill -STOP $$"),
            2,
            log::add,
            heard::add,
            new Timing(patience, SHORT, SHORT, SHORT, patience, Duration.ofSeconds(1)));
    group = started;
    GroupOutcome outcome = threads.submit(started::await).get(PATIENCE_SECONDS, SECONDS);
    assertThat(rootCause(outcome).failure().message()).contains("has been stopped (SIGSTOP");
    assertNoProcessIsLeft();
  }

  @Test
  void aWorkerThatNobodyWaitsForMayBeStoppedAndGoesOn() throws Exception {
    Duration patience = Duration.ofSeconds(20);
    CompletableFuture<String> command = new CompletableFuture<>();
    WorkerGroup started =
        WorkerGroup.start(
            specs("kill -STOP $$\n" + tell(finished(0))),
            1,
            line -> command.complete(line.replaceFirst(".* with: ", "")),
            heard::add,
            new Timing(patience, patience, SHORT, patience, patience, Duration.ofSeconds(1)));
    group = started;
    Future<GroupOutcome> outcome = threads.submit(started::await);
    String wakeUp = command.get(PATIENCE_SECONDS, SECONDS);
    assertThat(wakeUp).isEqualTo("kill -CONT " + started.pids().get(0));
    new ProcessBuilder("/bin/sh", "-c", wakeUp).start();

    assertThat(outcome.get(PATIENCE_SECONDS, SECONDS)).isInstanceOf(GroupOutcome.Finished.class);
    assertNoProcessIsLeft();
  }

  @Test
  void theOthersLastWordsAreHeardAfterADeath() throws Exception {
    WorkerEvent.Failed loss = failed(1, ExitStatus.RANK_FAILED, Failure.Blame.OTHERS);
    Duration patience = Duration.ofSeconds(20);

    GroupOutcome outcome =
        run(
            new Timing(patience, patience, patience, patience, patience, patience),
            NOTHING,
            "kill -9 $$",
            "sleep 0.3\n" + tell(loss) + "exec sleep 600");

    assertThat(rootCause(outcome).isDeath()).isTrue();
    assertThat(heard).containsExactly(loss);
  }

  @Test
  void aProcessThatEndsWithoutAWordIsToldByStatusAndLastLine() throws Exception {
    GroupOutcome outcome =
        run(PATIENT, NOTHING, "echo first >&2; echo 'last words' >&2; echo >&2; exit 3");

    RankFailure cause = rootCause(outcome);
    assertThat(cause.isDeath()).isTrue();
    assertThat(cause.pid()).isPositive();
    assertThat(cause.failure().message()).contains("status 3").contains("last words");
    assertThat(log).containsExactly("[rank 0] first", "[rank 0] last words", "[rank 0] ");
  }

  @Test
  void aProcessThatEndsWellBeforeItsJobIsDoneHasFailed() throws Exception {
    GroupOutcome outcome = run(PATIENT, NOTHING, "exit 0", tell(finished(1)));

    assertThat(rootCause(outcome).rank()).isZero();
    assertThat(rootCause(outcome).failure().message()).contains("status 0 before its work");
  }

  @Test
  void aWorkerThatDoesNotEndWhenAskedIsKilled() throws Exception {
    Timing timing =
        new Timing(
            Duration.ofSeconds(20),
            Duration.ofSeconds(20),
            SHORT,
            Duration.ofMillis(50),
            Duration.ofSeconds(20),
            Duration.ofSeconds(20));

    GroupOutcome outcome =
        run(
            timing,
            (event, workers) -> workers.assign(0, "go"),
            WAIT + "exit 3",
            "trap '' TERM\n" + tell(ready(1)) + "while :; do read -r line; done");

    assertThat(rootCause(outcome).rank()).isZero();
  }

  @Test
  void whatAWorkerStartedEndsWithIt() throws Exception {
    GroupOutcome outcome =
        run(
            PATIENT,
            (event, workers) -> workers.assign(0, "go"),
            WAIT + "exit 3",
            "sleep 600 &\n" + tell(ready(1)) + "wait");

    assertThat(rootCause(outcome).rank()).isZero();
  }

  @Test
  void aWorkerThatGoesOnForLongAfterOthersAreDoneHasFailed() throws Exception {
    Timing timing =
        new Timing(
            Duration.ofSeconds(20),
            Duration.ofMillis(50),
            SHORT,
            Duration.ofSeconds(20),
            Duration.ofMillis(100),
            Duration.ofSeconds(20));

    GroupOutcome outcome =
        run(timing, NOTHING, tell(finished(0)), tell(finished(1)) + "exec sleep 600");

    assertThat(rootCause(outcome).rank()).isEqualTo(1);
    assertThat(rootCause(outcome).failure().status()).isEqualTo(ExitStatus.DEADLINE);
    assertThat(rootCause(outcome).failure().message()).contains("ranks 1");
  }

  @Test
  void killedWorkersAreNoFailure() throws Exception {
    GroupOutcome outcome =
        run(
            PATIENT,
            (event, workers) -> workers.kill(),
            tell(ready(0)) + "exec sleep 600",
            "exec sleep 600");

    assertThat(outcome).isEqualTo(new GroupOutcome.Killed());
  }

  @Test
  void aStopIsToldToEveryWorker() throws Exception {
    String stops = "read -r plan\nread -r line\n[ \"$line\" = stop ] || exit 3\n";

    GroupOutcome outcome =
        run(
            PATIENT,
            (event, workers) -> {
              if (event.equals(ready(0))) {
                workers.assign(0, "plan");
                workers.assign(1, "plan");
                workers.requestStop();
              }
            },
            tell(ready(0)) + stops + tell(finished(0)),
            stops + tell(finished(1)));

    assertThat(outcome).isEqualTo(new GroupOutcome.Finished());
  }

  @Test
  void aProcessThatCannotBeStartedIsNamedAndNoneIsLeft() throws Exception {
    List<WorkerSpec> specs = new ArrayList<>(specs("exec sleep 600"));
    specs.add(
        new WorkerSpec(List.of(1, 2), List.of(folder.resolve("missing").toString()), Map.of()));

    assertThatThrownBy(() -> WorkerGroup.start(specs, 3, log::add, event -> {}, PATIENT))
        .isInstanceOfSatisfying(
            CommandException.class,
            refused -> {
              assertThat(refused.status()).isEqualTo(ExitStatus.RANK_FAILED);
              assertThat(refused).hasMessageContaining("ranks 1-2").hasMessageContaining("missing");
            });
    assertNoProcessIsLeft();
  }

  @Test
  void whatLooksLikeAnEventButIsNoneGoesToTheLogWithoutControlCharacters() throws Exception {
    GroupOutcome outcome =
        run(
            PATIENT,
            NOTHING,
            "printf '\\036\\033[2Jno event\\n'\n"
                + "printf '\\036\\033[2Jnor this\\n' >&2\n"
                + tell(finished(0)));

    assertThat(outcome).isEqualTo(new GroupOutcome.Finished());
    assertThat(log)
        .containsExactlyInAnyOrder("[rank 0] \ufffd[2Jno event", "[rank 0] \ufffd[2Jnor this");
  }

  @Test
  void theEnvironmentReachesTheWorker() throws Exception {
    WorkerSpec spec =
        new WorkerSpec(
            List.of(4),
            List.of("/bin/sh", "-c", "exec 3>'" + pipe + "'; echo \"rank $RANK\"; exit 3"),
            Map.of("RANK", "4"));

    try (WorkerGroup started =
        WorkerGroup.start(List.of(spec), 5, log::add, event -> {}, PATIENT)) {
      GroupOutcome outcome = threads.submit(started::await).get(PATIENCE_SECONDS, SECONDS);
      assertThat(rootCause(outcome).pid()).isEqualTo(started.pids().get(0));
    }
    assertThat(log).containsExactly("[rank 4] rank 4");
    assertNoProcessIsLeft();
  }

  @Test
  void aWorkerWithoutRanksIsRefused() {
    assertThatThrownBy(() -> new WorkerSpec(List.of(), List.of("/bin/true"), Map.of()))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
