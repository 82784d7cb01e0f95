package dev.phalanx.deeplearning4j;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.GroupOptions;
import dev.phalanx.collectives.InProcessGroups;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** Ranks that are threads of a test. */
final class Ranks {
  /** Of one rank. */
  interface Work<T> {
    T run(Communicator world) throws Exception;
  }

  private Ranks() {}

  /** What each rank's work has given, or thrown, by rank. */
  static <T> List<Future<T>> run(int ranks, Work<T> work) throws InterruptedException {
    InProcessGroups groups =
        new InProcessGroups(ranks, GroupOptions.withTimeout(Duration.ofSeconds(60)));
    ExecutorService threads = Executors.newFixedThreadPool(ranks);
    List<Future<T>> results = new ArrayList<>();
    for (int number = 0; number < ranks; number++) {
      int rank = number;
      results.add(
          threads.submit(
              () -> {
                try (Communicator world = groups.ofRank(rank).world()) {
                  return work.run(world);
                }
              }));
    }
    threads.shutdown();
    if (!threads.awaitTermination(2, TimeUnit.MINUTES)) {
      threads.shutdownNow();
      throw new IllegalStateException("The ranks have not ended");
    }
    return results;
  }
}
