package dev.phalanx.launcher.worker;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import dev.phalanx.launcher.Failures;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.RankContext;
import dev.phalanx.trainer.TrainingJob;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Runs the ranks of an assignment: one on the calling thread, or several on threads of their own.
 * Every rank's end is told to the launcher.
 */
final class Worker {
  /**
   * After a rank has failed the others of this JVM may still tell how they ended, for this long.
   */
  private static final long LAST_WORDS_MILLIS = 1000;

  private final Assignment assignment;
  private final EventWriter events;
  private final BooleanSupplier stopRequested;
  private final AtomicReference<@Nullable ExitStatus> firstFailure = new AtomicReference<>();

  Worker(Assignment assignment, EventWriter events, BooleanSupplier stopRequested) {
    this.assignment = assignment;
    this.events = events;
    this.stopRequested = stopRequested;
  }

  /** Runs to the end and gives the process's exit status. */
  ExitStatus run() throws InterruptedException {
    JobConfig config = JobConfigParser.parse("the plan", assignment.plan()).config();
    try (Worlds worlds = Worlds.of(assignment, config.communication().timeout())) {
      if (assignment.ranks().size() == 1) {
        runRank(assignment.ranks().get(0), config, worlds);
      } else {
        runRanks(config, worlds);
      }
    }
    ExitStatus failure = firstFailure.get();
    return failure == null ? ExitStatus.DONE : failure;
  }

  private void runRanks(JobConfig config, Worlds worlds) throws InterruptedException {
    CountDownLatch firstFailed = new CountDownLatch(1);
    List<Thread> threads = new ArrayList<>();
    CountDownLatch left = new CountDownLatch(assignment.ranks().size());
    for (int rank : assignment.ranks()) {
      Thread thread =
          new Thread(
              () -> {
                runRank(rank, config, worlds);
                if (firstFailure.get() != null) {
                  firstFailed.countDown();
                }
                left.countDown();
                if (left.getCount() == 0) {
                  firstFailed.countDown();
                }
              },
              "rank-" + rank);
      thread.setDaemon(true);
      threads.add(thread);
    }
    threads.forEach(Thread::start);
    firstFailed.await();
    boolean allEnded = left.await(LAST_WORDS_MILLIS, TimeUnit.MILLISECONDS);
    if (!allEnded && firstFailure.get() == null) {
      left.await();
    }
  }

  private void runRank(int rank, JobConfig config, Worlds worlds) {
    RankListener listener = new RankListener(rank, events);
    try (Communicator world = worlds.join(rank)) {
      JobResult result =
          new TrainingJob(config, context(rank, world), listener, assignment.resumeFrom()).run();
      events.write(new WorkerEvent.Finished(rank, result));
    } catch (RuntimeException | IOException | Error e) {
      failed(rank, listener, Failures.describe(e));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      failed(rank, listener, Failures.describe(e));
    }
  }

  private RankContext context(int rank, Communicator world) {
    return new RankContext(
        rank,
        assignment.worldSize(),
        rank,
        assignment.localWorldSize(),
        world,
        assignment.threads(),
        assignment.baseDirectory(),
        stopRequested);
  }

  private void failed(int rank, RankListener listener, Failure failure) {
    firstFailure.compareAndSet(null, failure.status());
    if (!listener.hasToldFailure()) {
      events.write(new WorkerEvent.Failed(rank, failure));
    }
  }
}
