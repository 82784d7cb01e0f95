package dev.phalanx.launcher.process;

import java.util.List;
import java.util.Map;

/**
 * A worker process to start.
 *
 * @param ranks that it runs, at least one; messages name them
 * @param environment what its environment has beside the launcher's own
 */
public record WorkerSpec(
    List<Integer> ranks, List<String> command, Map<String, String> environment) {
  public WorkerSpec {
    if (ranks.isEmpty()) {
      throw new IllegalArgumentException("a worker runs at least one rank");
    }
    ranks = List.copyOf(ranks);
    command = List.copyOf(command);
    environment = Map.copyOf(environment);
  }

  /** How its log lines are marked: {@code rank 1}, {@code ranks 0-3}. */
  String label() {
    return ranks.size() == 1
        ? "rank " + ranks.get(0)
        : "ranks " + ranks.get(0) + "-" + ranks.get(ranks.size() - 1);
  }
}
