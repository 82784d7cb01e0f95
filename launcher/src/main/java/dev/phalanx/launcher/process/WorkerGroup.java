package dev.phalanx.launcher.process;

import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import dev.phalanx.launcher.event.WorkerEvent;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * The worker processes of a job on this host, watched from start to end. The first failure ends
 * all:
 *
 * <pre>
 *   running --failure--> asking who is to blame (at most 3 s) --> ending (2 s) --> killing --> Failed
 *      |
 *      +--all done--> Finished
 * </pre>
 *
 * <p>Threads: one calls {@link #await}, on which the listener is called; {@link #requestStop} and
 * {@link #kill} may be called from any. {@link #close} kills what is left.
 */
public final class WorkerGroup implements AutoCloseable {
  /** Events wait here while the watching thread is busy; workers that write more have to wait. */
  private static final int NOTICE_CAPACITY = 4096;

  /** A killed process that the system does not let go (a dead network disk) must not hold us up. */
  private static final long LAST_WAIT_MILLIS = 10_000;

  private final List<WorkerProcess> workers = new ArrayList<>();
  private final BlockingQueue<Notice> notices = new LinkedBlockingQueue<>(NOTICE_CAPACITY);
  private final Consumer<WorkerEvent> listener;
  private final WorkerLog log;
  private final Timing timing;
  private final StoppedWorkers stopped;
  private final boolean isAlone; // one worker runs all ranks of the job
  private final long outOfMemoryKillsBefore = OutOfMemoryKills.count();
  private final List<RankFailure> failures = new ArrayList<>();
  private final Set<WorkerProcess> ended = new HashSet<>();
  private final Set<Integer> finishedRanks = new HashSet<>();
  private volatile boolean isKilled;

  private WorkerGroup(
      boolean isAlone, WorkerLog log, Consumer<WorkerEvent> listener, Timing timing) {
    this.isAlone = isAlone;
    this.log = log;
    this.listener = listener;
    this.timing = timing;
    this.stopped = new StoppedWorkers(timing.stoppedGrace());
  }

  /**
   * Starts one process for each spec.
   *
   * @param worldSize ranks of the job, some of which may be started elsewhere
   * @param log hears every line that workers write, from several threads
   * @param listener hears every event, on the thread that awaits
   * @throws CommandException where a process cannot be started; none is left then
   */
  public static WorkerGroup start(
      List<WorkerSpec> specs,
      int worldSize,
      WorkerLog log,
      Consumer<WorkerEvent> listener,
      Timing timing) {
    boolean isAlone = specs.size() == 1 && specs.get(0).ranks().size() == worldSize;
    WorkerGroup group = new WorkerGroup(isAlone, log, listener, timing);
    for (WorkerSpec spec : specs) {
      try {
        group.workers.add(WorkerProcess.start(spec, log, group.notices));
      } catch (IOException e) {
        group.close();
        throw new CommandException(
            ExitStatus.RANK_FAILED,
            "the process for "
                + spec.label()
                + " cannot be started: "
                + e.getMessage()
                + ". Start fewer workers, or look for what uses up memory or processes on this"
                + " host.",
            e);
      }
    }
    return group;
  }

  /** Gives a worker its first line of standard input. */
  public void assign(int worker, String line) {
    workers.get(worker).assign(line);
  }

  /** The process identifiers, in the order of the specs. */
  public List<Long> pids() {
    return workers.stream().map(WorkerProcess::pid).toList();
  }

  /** Asks every worker to stop after the step that it is in. */
  public void requestStop() {
    workers.forEach(WorkerProcess::requestStop);
  }

  /** Has the workers of these ranks log what their threads do; ranks of others are left out. */
  public void askWhere(List<Integer> ranks) {
    workers.stream()
        .filter(worker -> !Collections.disjoint(worker.ranks(), ranks))
        .forEach(WorkerProcess::askWhere);
  }

  /** Kills every worker now. */
  public void kill() {
    isKilled = true;
    workers.forEach(WorkerProcess::kill);
  }

  /** Waits for the end of all workers. The listener has heard every event when this returns. */
  public GroupOutcome await() throws InterruptedException {
    watch();
    if (!failures.isEmpty()) {
      askForBlame();
      RankFailure rootCause = rootCause();
      endAll();
      return isKilled ? new GroupOutcome.Killed() : new GroupOutcome.Failed(rootCause);
    }
    return isKilled ? new GroupOutcome.Killed() : new GroupOutcome.Finished();
  }

  private void watch() throws InterruptedException {
    while (failures.isEmpty() && ended.isEmpty()) {
      handleNext(Long.MAX_VALUE);
    }
    long deadline = System.nanoTime() + timing.exitGrace().toNanos();
    while (failures.isEmpty() && ended.size() < workers.size()) {
      long left = deadline - System.nanoTime();
      if (left <= 0 && notices.isEmpty()) {
        failLateWorkers();
        return;
      }
      handleNext(left);
    }
  }

  /** Waits for a notice, but no longer than until the workers are to be looked at again. */
  private void handleNext(long mostNanos) throws InterruptedException {
    long nanos = Math.min(mostNanos, StoppedWorkers.BETWEEN_LOOKS.toNanos());
    Notice notice = poll(System.nanoTime() + nanos);
    if (notice != null) {
      handle(notice);
    }
    stopped.look(running()).forEach(this::noteStopped);
  }

  private List<WorkerProcess> running() {
    return workers.stream().filter(worker -> !ended.contains(worker)).toList();
  }

  private @Nullable Notice poll(long deadlineNanos) throws InterruptedException {
    return notices.poll(Math.max(0, deadlineNanos - System.nanoTime()), TimeUnit.NANOSECONDS);
  }

  private void handle(Notice notice) {
    if (notice instanceof Notice.Heard heard) {
      WorkerEvent event = heard.event();
      if (event instanceof WorkerEvent.Failed failed) {
        failures.add(new RankFailure(failed.rank(), heard.worker().pid(), failed.failure(), false));
      } else if (event instanceof WorkerEvent.Finished) {
        finishedRanks.add(event.rank());
      }
      listener.accept(event);
    } else if (notice instanceof Notice.Ended end) {
      ended.add(end.worker());
      noteUnexplainedEnd(end.worker(), end.code());
    }
  }

  private void noteUnexplainedEnd(WorkerProcess worker, int code) {
    boolean isExplained =
        failures.stream().anyMatch(failure -> failure.pid() == worker.pid())
            || (code == 0 && finishedRanks.containsAll(worker.ranks()));
    if (!isExplained) {
      boolean isOutOfMemory = OutOfMemoryKills.count() > outOfMemoryKillsBefore;
      Failure failure = Deaths.describe(code, worker.pid(), worker.lastLine(), isOutOfMemory);
      failures.add(new RankFailure(worker.ranks().get(0), worker.pid(), failure, true));
    }
  }

  /** Who has nobody that waits for it may be stopped for as long as its user likes. */
  private void noteStopped(WorkerProcess worker) {
    if (isAlone) {
      log.line(
          worker.label()
              + " is stopped (SIGSTOP, or a debugger). It goes on with: kill -CONT "
              + worker.pid());
      return;
    }
    String message =
        "its process has been stopped (SIGSTOP, or a debugger) for "
            + timing.stoppedGrace().toSeconds()
            + " s, and the job cannot go on without it. Find out who stopped it, and start again,"
            + " with --resume to go on from the last checkpoint.";
    failures.add(
        new RankFailure(
            worker.ranks().get(0),
            worker.pid(),
            new Failure(ExitStatus.RANK_FAILED, Failure.Blame.OWN, message, ""),
            false));
  }

  private void failLateWorkers() {
    List<WorkerProcess> late = running();
    String ranks =
        late.stream()
            .flatMap(worker -> worker.ranks().stream())
            .map(String::valueOf)
            .collect(Collectors.joining(", "));
    String message =
        "still running "
            + timing.exitGrace().toSeconds()
            + " s after others were done (ranks "
            + ranks
            + "). Look at what they wait for, a slow disk for instance.";
    failures.add(
        new RankFailure(
            late.get(0).ranks().get(0),
            late.get(0).pid(),
            new Failure(ExitStatus.DEADLINE, Failure.Blame.OWN, message, ""),
            false));
  }

  /**
   * Waits for a better explanation than the first one: a lost peer is seen by all but the one who
   * is lost. Nothing explains more than a death, but what the others tell of themselves then is for
   * the report.
   */
  private void askForBlame() throws InterruptedException {
    long start = System.nanoTime();
    while (ended.size() < workers.size()) {
      RankFailure best = rootCause();
      if (best.isDeath() && haveAllSpoken()) {
        return;
      }
      Notice notice = poll(start + grace(best).toNanos());
      if (notice == null) {
        return;
      }
      handle(notice);
    }
  }

  private Duration grace(RankFailure best) {
    if (best.isDeath()) {
      return timing.lastWordsGrace();
    }
    return best.failure().blame() == Failure.Blame.OWN ? timing.deathGrace() : timing.blameGrace();
  }

  /** Whether every rank whose process still runs has told how it ended. */
  private boolean haveAllSpoken() {
    Set<Integer> silent = new HashSet<>();
    running().forEach(worker -> silent.addAll(worker.ranks()));
    silent.removeAll(finishedRanks);
    failures.forEach(failure -> silent.remove(failure.rank()));
    return silent.isEmpty();
  }

  /**
   * Deaths tell most, then failures of a rank's own, then those between ranks; the earliest of its
   * kind.
   */
  private RankFailure rootCause() {
    return failures.stream()
        .min(
            Comparator.comparing((RankFailure failure) -> !failure.isDeath())
                .thenComparing(failure -> failure.failure().blame()))
        .orElseThrow();
  }

  private void endAll() throws InterruptedException {
    workers.stream().filter(WorkerProcess::isAlive).forEach(WorkerProcess::end);
    long deadline = System.nanoTime() + timing.endGrace().toNanos();
    for (WorkerProcess worker : workers) {
      long millis = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
      if (!worker.awaitEnd(Math.max(0, millis))) {
        worker.kill();
      }
    }
    for (WorkerProcess worker : workers) {
      worker.awaitEnd(LAST_WAIT_MILLIS);
    }
  }

  /** Kills what still runs, and waits for its end. */
  @Override
  public void close() {
    boolean wasInterrupted = false;
    workers.stream().filter(WorkerProcess::isAlive).forEach(WorkerProcess::kill);
    for (WorkerProcess worker : workers) {
      try {
        worker.awaitEnd(timing.endGrace().toMillis());
      } catch (InterruptedException e) {
        wasInterrupted = true;
      }
    }
    if (wasInterrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
