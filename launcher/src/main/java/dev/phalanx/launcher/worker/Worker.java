package dev.phalanx.launcher.worker;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.ProcessGroups;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.Failure;
import dev.phalanx.launcher.Failures;
import dev.phalanx.launcher.bench.BenchmarkOptions;
import dev.phalanx.launcher.bench.CollectiveBenchmark;
import dev.phalanx.launcher.event.Assignment;
import dev.phalanx.launcher.event.WorkerEvent;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.PipelinePlan;
import dev.phalanx.trainer.RankContext;
import dev.phalanx.trainer.TrainingJob;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
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

  /** What a rank does once it is in its world. */
  private interface RankWork {
    Optional<JobResult> run(ProcessGroups groups, Communicator world, RankListener listener)
        throws IOException, InterruptedException;
  }

  private final Assignment assignment;
  private final EventWriter events;
  private final BooleanSupplier stopRequested;
  private final AtomicReference<@Nullable ExitStatus> firstFailure = new AtomicReference<>();

  Worker(Assignment assignment, EventWriter events, BooleanSupplier stopRequested) {
    this.assignment = assignment;
    this.events = events;
    this.stopRequested = stopRequested;
  }

  /**
   * Runs to the end and gives the process's exit status.
   *
   * @throws IOException where a file that the plan names cannot be read
   */
  ExitStatus run() throws InterruptedException, IOException {
    RankWork work;
    JobConfig.Transport transport;
    GroupOptions groups;
    String file = "";
    if (assignment.task() == Assignment.Task.BENCHMARK) {
      BenchmarkOptions options = BenchmarkOptions.parse(assignment.plan());
      transport = options.transport();
      groups = new GroupOptions(options.algorithm(), options.timeout(), options.streams());
      work = (ranks, world, listener) -> measure(world, options);
    } else {
      JobConfig config = JobConfigParser.parse("the plan", assignment.plan()).config();
      transport = config.communication().transport();
      groups =
          new GroupOptions(
              Algorithm.valueOf(config.communication().algorithm().name()),
              config.communication().timeout(),
              config.communication().streams());
      file = PipelinePlan.tableText(config.parallel(), assignment.baseDirectory()).orElse("");
      work = (ranks, world, listener) -> train(ranks, world, listener, config);
    }
    Worlds worlds = Worlds.of(assignment, transport, groups, file);
    if (assignment.ranks().size() == 1) {
      runRank(assignment.ranks().get(0), work, worlds);
    } else {
      runRanks(work, worlds);
    }
    ExitStatus failure = firstFailure.get();
    return failure == null ? ExitStatus.DONE : failure;
  }

  private void runRanks(RankWork work, Worlds worlds) throws InterruptedException {
    CountDownLatch firstFailed = new CountDownLatch(1);
    List<Thread> threads = new ArrayList<>();
    CountDownLatch left = new CountDownLatch(assignment.ranks().size());
    for (int rank : assignment.ranks()) {
      Thread thread =
          new Thread(
              () -> {
                runRank(rank, work, worlds);
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

  private void runRank(int rank, RankWork work, Worlds worlds) {
    RankListener listener = new RankListener(rank, events);
    try {
      ProcessGroups groups = worlds.join(rank);
      try (Communicator world = groups.world()) {
        events.write(new WorkerEvent.Finished(rank, work.run(groups, world, listener)));
      }
      groups.close(); // to the others an end without a word is a loss
    } catch (RuntimeException | IOException | Error e) {
      failed(rank, listener, Failures.describe(e));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      failed(rank, listener, Failures.describe(e));
    }
  }

  private Optional<JobResult> train(
      ProcessGroups groups, Communicator world, RankListener listener, JobConfig config)
      throws IOException, InterruptedException {
    return Optional.of(
        new TrainingJob(config, context(groups, world), listener, assignment.resumeFrom()).run());
  }

  private Optional<JobResult> measure(Communicator world, BenchmarkOptions options)
      throws InterruptedException {
    new CollectiveBenchmark(world, options, stopRequested)
        .run(
            row -> {
              if (world.rank() == 0) {
                events.write(new WorkerEvent.Measured(world.rank(), row));
              }
            });
    return Optional.empty();
  }

  private RankContext context(ProcessGroups groups, Communicator world) {
    int rank = groups.rank();
    return new RankContext(
        rank,
        assignment.worldSize(),
        assignment.localRank() + assignment.ranks().indexOf(rank),
        assignment.localWorldSize(),
        groups,
        world,
        assignment.threads(),
        assignment.baseDirectory(),
        stopRequested);
  }

  private void failed(int rank, RankListener listener, Failure failure) {
    firstFailure.compareAndSet(null, failure.status());
    if (!listener.hasToldFailure()) {
      events.write(new WorkerEvent.Failed(rank, failure, Optional.empty()));
    }
  }
}
