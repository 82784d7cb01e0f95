package dev.phalanx.trainer.config;

import static org.assertj.core.api.Assertions.catchThrowableOfType;

import java.util.List;

/** Plans that tests start from. */
final class Plans {
  static final String FILE = "configs/a.yaml";

  /** The required keys only; line 1 is {@code model:}. */
  static final String MINIMAL =
      """
      model:
        family: gpt2
        layers: 2
        hidden: 64
        heads: 4
        sequence: 32
      data:
        path: book.txt
      batch:
        global: 8
        micro: 4
      optimizer:
        lr: 3e-4
      steps: 50
      """;

  private Plans() {}

  static JobConfig parse(String yaml, String... overrides) {
    return plan(yaml, overrides).config();
  }

  static ParsedPlan plan(String yaml, String... overrides) {
    return JobConfigParser.parse(FILE, yaml, List.of(overrides));
  }

  /** What is wrong with a plan, one line a problem. */
  static List<String> problems(String yaml, String... overrides) {
    ConfigurationException exception =
        catchThrowableOfType(ConfigurationException.class, () -> plan(yaml, overrides));
    return exception == null
        ? List.of()
        : exception.problems().stream().map(Problem::toString).toList();
  }

  /** What is wrong with a plan in a world of this size. */
  static List<String> problemsInWorld(int worldSize, String yaml, String... overrides) {
    return JobConfigValidator.problemsOf(plan(yaml, overrides), worldSize).stream()
        .map(Problem::toString)
        .toList();
  }
}
