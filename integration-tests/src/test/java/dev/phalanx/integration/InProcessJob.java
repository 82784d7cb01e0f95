package dev.phalanx.integration;

import static java.util.concurrent.TimeUnit.SECONDS;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.InProcessGroups;
import dev.phalanx.collectives.ProcessGroups;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.tensor.Engines;
import dev.phalanx.trainer.JobListener;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.RankContext;
import dev.phalanx.trainer.StepRecord;
import dev.phalanx.trainer.TrainingJob;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.JobConfigValidator;
import dev.phalanx.trainer.config.ParsedPlan;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BooleanSupplier;
import java.util.function.IntFunction;

/** A job whose ranks are threads of this JVM. */
final class InProcessJob {
  private static final long DEADLINE_SECONDS = 120;

  /** What a job did. */
  record Run(List<StepRecord> steps, JobResult result) {}

  private InProcessJob() {}

  static Run run(String yaml, int worldSize, Path folder, Optional<Path> resumeFrom)
      throws Exception {
    return run(yaml, worldSize, folder, resumeFrom, Engines::open);
  }

  static Run run(
      String yaml,
      int worldSize,
      Path folder,
      Optional<Path> resumeFrom,
      TrainingJob.EngineSource engines)
      throws Exception {
    return run(yaml, worldSize, folder, resumeFrom, engines, rank -> () -> false);
  }

  /**
   * @param stopRequested what asks a rank whether it wants to stop, each in every step
   */
  static Run run(
      String yaml,
      int worldSize,
      Path folder,
      Optional<Path> resumeFrom,
      TrainingJob.EngineSource engines,
      IntFunction<BooleanSupplier> stopRequested)
      throws Exception {
    ParsedPlan plan = JobConfigParser.parse("plan.yaml", yaml);
    JobConfigValidator.validate(plan, worldSize);
    Algorithm algorithm = Algorithm.valueOf(plan.config().communication().algorithm().name());
    InProcessGroups groups =
        new InProcessGroups(worldSize, new GroupOptions(algorithm, Duration.ofSeconds(60), 1));
    List<StepRecord> steps = new ArrayList<>();
    JobListener listener =
        new JobListener() {
          @Override
          public void stepFinished(StepRecord step) {
            steps.add(step);
          }
        };
    ExecutorService threads = Executors.newCachedThreadPool();
    try {
      List<Future<JobResult>> ranks = new ArrayList<>();
      for (int rank = 0; rank < worldSize; rank++) {
        int own = rank;
        ranks.add(
            threads.submit(
                () -> {
                  ProcessGroups ofRank = groups.ofRank(own);
                  try (Communicator world = ofRank.world()) {
                    RankContext context =
                        new RankContext(
                            own,
                            worldSize,
                            own,
                            worldSize,
                            ofRank,
                            world,
                            1,
                            folder,
                            stopRequested.apply(own));
                    return new TrainingJob(plan.config(), context, listener, resumeFrom, engines)
                        .run();
                  }
                }));
      }
      List<JobResult> results = new ArrayList<>();
      for (Future<JobResult> rank : ranks) {
        results.add(rank.get(DEADLINE_SECONDS, SECONDS));
      }
      return new Run(List.copyOf(steps), results.get(0));
    } finally {
      threads.shutdownNow();
    }
  }
}
