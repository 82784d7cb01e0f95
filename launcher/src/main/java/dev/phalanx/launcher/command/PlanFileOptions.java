package dev.phalanx.launcher.command;

import dev.phalanx.trainer.PlanSearch;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.ParsedPlan;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToIntFunction;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The plan file of a command, and what the command line changes of it. */
final class PlanFileOptions {
  @Parameters(paramLabel = "FILE", description = "the plan file")
  private Path plan = Path.of("");

  @Option(
      names = "--set",
      paramLabel = "KEY=VALUE",
      description = "override a key of the plan file by its path; may be repeated")
  private List<String> overrides = new ArrayList<>();

  /**
   * Reads a plan whose own layout need not suit its ranks, for others are tried.
   *
   * @throws dev.phalanx.trainer.config.ConfigurationException where something is wrong that no
   *     layout would mend, which is what is wrong with one rank too
   */
  ParsedPlan readForSearch() {
    ParsedPlan parsed = JobConfigParser.read(plan, overrides);
    if (parsed.config().model() instanceof JobConfig.Transformer) {
      List<String> onOneRank = new ArrayList<>(overrides);
      onOneRank.addAll(PlanSearch.ONE_RANK);
      JobConfigParser.readAndValidate(plan, onOneRank, config -> 1);
    }
    return parsed;
  }

  /** See {@link JobConfigParser#readAndValidate}. */
  ParsedPlan read(ToIntFunction<JobConfig> worldSize) {
    return JobConfigParser.readAndValidate(plan, overrides, worldSize);
  }
}
