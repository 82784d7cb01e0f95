package dev.phalanx.trainer.config;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Gathers mistakes so that all of them can be reported at once. One thread. */
final class Problems {
  private final List<Problem> found = new ArrayList<>();

  void add(Position position, String keyPath, String message, String suggestion) {
    found.add(Problem.at(position, keyPath, message, suggestion));
  }

  void add(Problem problem) {
    found.add(problem);
  }

  /** In the order of the sources: overrides first, then the file from top to bottom. */
  List<Problem> inOrder() {
    return found.stream()
        .distinct()
        .sorted(Comparator.comparingInt(Problem::line).thenComparingInt(Problem::column))
        .toList();
  }

  boolean isEmpty() {
    return found.isEmpty();
  }

  /**
   * @throws ConfigurationException if there is any
   */
  void throwIfAny() {
    if (!found.isEmpty()) {
      throw new ConfigurationException(inOrder());
    }
  }
}
