package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.local.JobOptions;
import dev.phalanx.launcher.local.JobOutcome;
import dev.phalanx.launcher.local.LocalJob;
import dev.phalanx.launcher.local.Placement;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.launcher.terminal.Progress;
import dev.phalanx.launcher.terminal.Summary;
import dev.phalanx.trainer.JobResult;
import dev.phalanx.trainer.Preflight;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.ParsedPlan;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code phalanx train}: runs a plan file's job on this host, or one rank of it. */
@Command(name = "train", description = "Trains the model of a plan file with workers on this host.")
final class TrainCommand implements Callable<Integer> {
  @Mixin private PlanFileOptions plan = new PlanFileOptions();

  @Option(
      names = "--workers",
      paramLabel = "N",
      description = "ranks on this host; left out: as many as the plan's parallel section names")
  private @Nullable Integer workers;

  @Option(
      names = "--in-process",
      description = "run the ranks as threads of one process instead of a process each")
  private boolean isInProcess;

  @Option(
      names = "--resume",
      paramLabel = "DIR",
      arity = "0..1",
      fallbackValue = "",
      description =
          "go on from this checkpoint, or from the newest in this folder; without DIR: from the"
              + " newest of the plan's checkpoint.dir, or from the beginning if there is none yet")
  private @Nullable String resume;

  @Mixin private NetworkOptions network = new NetworkOptions();

  @Mixin private ExternalOptions external = new ExternalOptions();

  @Mixin private CommonOptions common = new CommonOptions();

  @Override
  public Integer call() throws Exception {
    Path baseDirectory = Path.of("").toAbsolutePath();
    external.excludes("--workers", workers != null);
    external.excludes("--in-process", isInProcess);
    external.excludes("--port", network.hasPort());
    Optional<Placement> elsewhere = external.placement(network.encryption());
    ParsedPlan parsed =
        plan.read(read -> elsewhere.map(Placement::worldSize).orElseGet(() -> worldSize(read)));
    JobConfig config = parsed.config();
    Placement placement =
        elsewhere.orElseGet(
            () ->
                Placement.here(
                    worldSize(config), isInProcess, network.port(), network.encryption()));
    requireTransport(config, placement.worldSize());
    Optional<Path> resumeFrom = resumeFrom(config, baseDirectory);
    Console console = common.console();
    try (EncodingProgress progress =
        new EncodingProgress(console, common.isQuiet, System::nanoTime)) {
      Preflight.check(parsed, baseDirectory, placement.worldSize(), progress);
    }
    if (placement.hasRankZero()) {
      OutputPlaces.requireWritable(parsed, baseDirectory);
    }

    JobOptions options =
        new JobOptions(config, placement, common.isVerbose, resumeFrom, baseDirectory);
    Progress progress =
        new Progress(console, common.isQuiet, config.log().every(), System::nanoTime);
    JobOutcome outcome = LocalJob.run(options, console, progress);
    showFailure(outcome, console);
    if (placement.hasRankZero()) {
      showResult(outcome, config, console, baseDirectory);
    }
    return outcome.status().code();
  }

  /** A plan that names a transport gets that one, or a refusal. */
  private void requireTransport(JobConfig config, int worldSize) {
    JobConfig.Transport transport = config.communication().transport();
    network.requireEncryptionOf(transport);
    network.requireStreams("communication.streams", config.communication().streams(), transport);
    boolean isBetweenProcesses =
        transport == JobConfig.Transport.TCP
            || transport == JobConfig.Transport.SHM
            || transport == JobConfig.Transport.GRPC;
    if (isBetweenProcesses && isInProcess) {
      throw CommandException.usage(
          "communication.transport is "
              + transport.label()
              + ", but the ranks of --in-process are threads that share"
              + " memory; leave --in-process out, or write 'transport: auto'");
    }
    if (transport == JobConfig.Transport.INPROCESS && !isInProcess && worldSize > 1) {
      throw CommandException.usage(
          "communication.transport is inprocess, but "
              + worldSize
              + " ranks are to run as processes; add --in-process, or write 'transport: auto'");
    }
  }

  private int worldSize(JobConfig config) {
    return worldSize(config, workers);
  }

  /**
   * The ranks that a plan runs with.
   *
   * @param workers what the command line names, if it does
   */
  static int worldSize(JobConfig config, @Nullable Integer workers) {
    if (workers != null) {
      if (workers < 1 || workers > JobConfig.MOST_RANKS) {
        throw CommandException.usage(
            "--workers is " + workers + "; write a number from 1 to " + JobConfig.MOST_RANKS);
      }
      return workers;
    }
    JobConfig.Parallel parallel = config.parallel();
    return (int) // the largest, where sizes multiply to more: the plan is refused for them
        ((double) Math.max(1, parallel.data()) * parallel.ranksPerSequence());
  }

  private Optional<Path> resumeFrom(JobConfig config, Path baseDirectory) {
    String named = resume;
    if (named == null) {
      return Optional.empty();
    }
    if (!named.isEmpty()) {
      return Optional.of(baseDirectory.resolve(named));
    }
    if (config.checkpoint().isEmpty()) {
      throw CommandException.usage(
          "--resume needs a folder: the plan has no checkpoint.dir. Write --resume DIR.");
    }
    return Optional.of(baseDirectory.resolve(config.checkpoint().get().dir()));
  }

  private void showFailure(JobOutcome outcome, Console console) {
    outcome.failure().ifPresent(failure -> console.line("phalanx: " + failure));
    if (common.isVerbose && !outcome.stackTrace().isEmpty()) {
      console.line(outcome.stackTrace().stripTrailing());
    }
  }

  private void showResult(
      JobOutcome outcome, JobConfig config, Console console, Path baseDirectory) {
    if (common.isJson) {
      console.result(json(outcome, config).toString());
    } else if (outcome.result().isPresent()) {
      Optional<String> prompt =
          config.data().tokenizerName().isPresent() ? Optional.of("It was ") : Optional.empty();
      Summary.of(
              outcome.result().get(),
              System.getProperty("phalanx.command", "phalanx"),
              prompt,
              baseDirectory)
          .forEach(console::result);
    }
  }

  private static ObjectNode json(JobOutcome outcome, JobConfig config) {
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("name", config.name());
    json.put("status", outcome.status().code());
    json.put("result", result(outcome));
    outcome.failure().ifPresent(failure -> json.put("failure", failure));
    if (outcome.result().isPresent()) {
      JobResult result = outcome.result().get();
      json.put("steps", result.steps());
      if (!Double.isNaN(result.lastLoss())) {
        json.put("loss", result.lastLoss());
      }
      result
          .lastEvaluation()
          .ifPresent(
              last -> {
                json.put("evaluation_loss", last.loss());
                last.accuracy().ifPresent(found -> json.put("evaluation_accuracy", found));
              });
      json.put("seconds", result.seconds());
      json.put(result.unit().label() + "_per_second", result.itemsPerSecond());
      json.put("peak_rss_bytes", result.peakResidentBytes());
      result.lastCheckpoint().ifPresent(path -> json.put("checkpoint", path.toString()));
      result.report().ifPresent(path -> json.put("report", path.toString()));
    }
    return json;
  }

  /** As the report says it: who asks twice to stop gets a failure, though its own status. */
  private static String result(JobOutcome outcome) {
    if (outcome.failure().isPresent()) {
      return "failed";
    }
    return outcome.status() == ExitStatus.DONE ? "completed" : "stopped";
  }
}
