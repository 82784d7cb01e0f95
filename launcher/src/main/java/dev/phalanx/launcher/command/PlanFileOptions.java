package dev.phalanx.launcher.command;

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

  /** See {@link JobConfigParser#read}: the ranks that will run it are not known. */
  ParsedPlan read() {
    return JobConfigParser.read(plan, overrides);
  }

  /** See {@link JobConfigParser#readAndValidate}. */
  ParsedPlan read(ToIntFunction<JobConfig> worldSize) {
    return JobConfigParser.readAndValidate(plan, overrides, worldSize);
  }
}
