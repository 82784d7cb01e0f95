package dev.phalanx.trainer.config;

import java.util.List;
import java.util.stream.Collectors;

/**
 * A plan that cannot be run: all its mistakes at once, in the order of the file. No process has
 * been started. The command line ends with status 64, also where the plan file itself is missing or
 * cannot be read.
 */
public final class ConfigurationException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final transient List<Problem> problems;

  /** The message holds one problem a line. */
  public ConfigurationException(List<Problem> problems) {
    super(problems.stream().map(Problem::toString).collect(Collectors.joining("\n")));
    this.problems = List.copyOf(problems);
  }

  /** One mistake that shows after the plan was read, at its key. */
  public static ConfigurationException at(Positions positions, String keyPath, String message) {
    return new ConfigurationException(
        List.of(Problem.at(positions.of(keyPath), keyPath, message, "")));
  }

  /** At least one. */
  public List<Problem> problems() {
    return problems;
  }
}
