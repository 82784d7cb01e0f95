package dev.phalanx.trainer.config;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.ToIntFunction;
import java.util.stream.Collectors;

/**
 * Reads plan files. A plan is either complete and well-formed, or every mistake in it is reported
 * at once; {@link JobConfigValidator} then checks what depends on several keys and on the number of
 * ranks. Any thread.
 */
public final class JobConfigParser {
  /** A plan is a page of text; a file of another kind is refused before it is read. */
  private static final long LARGEST_FILE_BYTES = 1 << 20;

  /** Sections whose values follow from others, or are compared with them. */
  private static final Map<String, List<String>> SECTIONS_LOOKED_INTO =
      Map.of(
          "batch", List.of("parallel"),
          "communication", List.of("optimizer", "parallel", "precision", "sharding"),
          "model", List.of("data"),
          "optimizer", List.of("steps"),
          "parallel", List.of("model"),
          "sharding", List.of("parallel"));

  private JobConfigParser() {}

  /**
   * Reads a plan file and applies overrides to it.
   *
   * @param file messages name it as it is given here
   * @param overrides {@code key.path=value} each, the value in YAML; a later one wins over an
   *     earlier one and all win over the file
   * @throws ConfigurationException with every mistake, also if the file cannot be read
   */
  public static ParsedPlan read(Path file, List<String> overrides) {
    return parse(file.toString(), textOf(file), overrides);
  }

  /**
   * Parses a plan.
   *
   * @param source what messages call the text: its file
   * @throws ConfigurationException with every mistake
   */
  public static ParsedPlan parse(String source, String yaml, List<String> overrides) {
    Problems problems = new Problems();
    ParsedPlan plan = bind(source, yaml, overrides, problems);
    problems.throwIfAny();
    return plan;
  }

  /**
   * Reads a plan file and checks it as {@link JobConfigValidator} does, so that a user sees the
   * mistakes of both at once. Sections with mistakes in the file are not checked further: what is
   * wrong in them would be found wrong again.
   *
   * @param overrides as for {@link #read}
   * @param worldSize the ranks that will run the plan
   * @throws ConfigurationException with every mistake
   */
  public static ParsedPlan readAndValidate(
      Path file, List<String> overrides, ToIntFunction<JobConfig> worldSize) {
    Problems problems = new Problems();
    ParsedPlan plan = bind(file.toString(), textOf(file), overrides, problems);
    Set<String> damaged =
        problems.inOrder().stream()
            .map(problem -> sectionOf(problem.keyPath()))
            .collect(Collectors.toSet());
    JobConfigValidator.problemsOf(plan, worldSize.applyAsInt(plan.config())).stream()
        .filter(problem -> isIndependentOf(damaged, sectionOf(problem.keyPath())))
        .forEach(problems::add);
    problems.throwIfAny();
    return plan;
  }

  private static String sectionOf(String keyPath) {
    return keyPath.contains(".") ? keyPath.substring(0, keyPath.indexOf('.')) : keyPath;
  }

  private static boolean isIndependentOf(Set<String> damaged, String section) {
    return !damaged.contains(section)
        && SECTIONS_LOOKED_INTO.getOrDefault(section, List.of()).stream()
            .noneMatch(damaged::contains);
  }

  private static ParsedPlan bind(
      String source, String yaml, List<String> overrides, Problems problems) {
    PlanNode.Mapping written = new PlanReader(source, problems).readPlan(yaml);
    PlanNode.Mapping effective = new Overrides(problems).apply(written, overrides);
    if (!problems.isEmpty() && written.entries().isEmpty()) {
      problems.throwIfAny();
    }
    return new JobConfigBinder(source, problems).bind(effective);
  }

  /** Parses a plan without overrides, as {@link JobConfigWriter#toYaml} writes it. */
  public static ParsedPlan parse(String source, String yaml) {
    return parse(source, yaml, List.of());
  }

  static String textOf(Path file) {
    try {
      if (Files.isDirectory(file)) {
        throw unreadable(file, "this is a directory", "name a file");
      }
      if (!Files.exists(file)) {
        throw unreadable(
            file, "there is no such file in " + Path.of("").toAbsolutePath(), "check its name");
      }
      long bytes = Files.size(file);
      if (bytes > LARGEST_FILE_BYTES) {
        throw unreadable(
            file,
            "the file has " + bytes + " bytes; a plan file has at most " + LARGEST_FILE_BYTES,
            "name a plan file");
      }
      return Files.readString(file);
    } catch (CharacterCodingException e) {
      throw unreadable(file, "the file is not UTF-8 text", "name a plan file in YAML");
    } catch (IOException e) {
      throw unreadable(
          file, "the file cannot be read (" + e.getMessage() + ")", "check its permissions");
    }
  }

  private static ConfigurationException unreadable(Path file, String message, String suggestion) {
    return new ConfigurationException(
        List.of(Problem.at(Position.whole(file.toString()), "", message, suggestion)));
  }
}
