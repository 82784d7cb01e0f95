package dev.phalanx.launcher.command;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.phalanx.launcher.CommandException;
import dev.phalanx.launcher.ExitStatus;
import dev.phalanx.launcher.terminal.Console;
import dev.phalanx.launcher.terminal.Quantities;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.pipeline.ScheduleTable;
import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.parallelism.plan.StepTime;
import dev.phalanx.trainer.FamilyRehearsal;
import dev.phalanx.trainer.JobPlan;
import dev.phalanx.trainer.ModelFamily;
import dev.phalanx.trainer.NotFiniteException;
import dev.phalanx.trainer.PlanCheck;
import dev.phalanx.trainer.PlanSearch;
import dev.phalanx.trainer.Preflight;
import dev.phalanx.trainer.Rehearsal;
import dev.phalanx.trainer.config.ClusterDescription;
import dev.phalanx.trainer.config.ClusterParser;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.data.DataPreparation;
import dev.phalanx.trainer.rehearsal.SentOperations;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * {@code phalanx plan}: says what a plan file's job would be, without starting it. Of a network of
 * another library this process computes two steps.
 */
@Command(
    name = "plan",
    description =
        "Says what a plan file's job would be: the ranks' groups, what each rank holds, computes"
            + " and sends in a step. No process is started. Bytes that are sent are the ring"
            + " algorithms'.")
final class PlanCommand implements Callable<Integer> {
  private static final int PROPOSALS = 5;

  @Mixin private PlanFileOptions plan = new PlanFileOptions();

  @Option(
      names = "--workers",
      paramLabel = "N",
      description = "ranks; left out: as many as the plan's parallel section names")
  private @Nullable Integer workers;

  @Option(
      names = "--cluster",
      paramLabel = "FILE",
      description = "a description of devices and links: says how long a step takes on them")
  private @Nullable Path clusterFile;

  @Option(
      names = "--search",
      description = "proposes the fastest layouts that fit the devices of --cluster")
  private boolean isSearch;

  @Option(
      names = "--check",
      paramLabel = "REPORT",
      description = "the report of a run: compares what it counted with what this plan predicts")
  private @Nullable Path reportFile;

  @Mixin private CommonOptions common = new CommonOptions();

  @Override
  public Integer call() throws Exception {
    if (reportFile != null) {
      return check(reportFile);
    }
    Optional<ClusterDescription> cluster =
        Optional.ofNullable(clusterFile).map(ClusterParser::read);
    if (isSearch) {
      return search(
          cluster.orElseThrow(
              () ->
                  CommandException.usage(
                      "--search needs --cluster FILE, which says what the layouts must fit")));
    }
    ParsedPlan parsed = plan.read(this::worldSize);
    JobConfig config = parsed.config();
    Console console = common.console();
    if (!(config.model() instanceof JobConfig.Transformer)) {
      requireNoCluster(config);
      network(parsed, console);
      return 0;
    }
    Path folder = Path.of("").toAbsolutePath();
    int ranks = worldSize(config);
    JobPlan found =
        cluster.isPresent()
            ? JobPlan.onCluster(parsed, folder, ranks)
            : JobPlan.of(parsed, folder, ranks);
    if (common.isJson) {
      ObjectNode json = json(found, config);
      cluster.ifPresent(devices -> addTime(json, found, config, devices));
      console.result(json.toString());
    } else {
      lines(found, config).forEach(console::result);
      cluster.ifPresent(devices -> timeLines(found, config, devices).forEach(console::result));
    }
    return 0;
  }

  private int check(Path file) throws Exception {
    if (workers != null || clusterFile != null || isSearch) {
      throw CommandException.usage(
          "--check takes the number of ranks from the report, and compares what they held and sent;"
              + " leave --workers, --cluster and --search out");
    }
    JsonNode report = PlanCheck.read(file);
    int ranks = report.path("world_size").intValue();
    ParsedPlan parsed = plan.read(config -> ranks);
    if (!(parsed.config().model() instanceof JobConfig.Transformer)) {
      throw CommandException.usage(
          "--check compares runs of transformers, and model.family is "
              + parsed.config().model().family().label());
    }
    JobPlan found = JobPlan.of(parsed, Path.of("").toAbsolutePath(), ranks);
    PlanCheck check = PlanCheck.of(found, parsed.config(), report);
    Console console = common.console();
    if (common.isJson) {
      console.result(PlanCheckOutput.json(check).toString());
    } else {
      PlanCheckOutput.lines(check).forEach(console::result);
    }
    PlanCheckOutput.requireAgreement(check);
    return 0;
  }

  private int search(ClusterDescription cluster) throws Exception {
    ParsedPlan parsed = plan.readForSearch();
    JobConfig config = parsed.config();
    requireNoCluster(config);
    int ranks = worldSize(config);
    PlanSearch.Result result =
        PlanSearch.search(
            parsed, Path.of("").toAbsolutePath(), ranks, cluster.in(config.precision()), PROPOSALS);
    Console console = common.console();
    if (common.isJson) {
      ObjectNode json = json(result, ranks);
      addRate(json, config, cluster);
      console.result(json.toString());
    } else {
      lines(result, ranks).forEach(console::result);
      rateLine(config, cluster).ifPresent(console::result);
    }
    return 0;
  }

  /** Of other models only their own library knows what they compute. */
  private void requireNoCluster(JobConfig config) {
    if (clusterFile != null && !(config.model() instanceof JobConfig.Transformer)) {
      throw CommandException.usage(
          "--cluster and --search tell how long transformers take, and model.family is "
              + config.model().family().label()
              + ", whose layers Phalanx does not know; leave them out, and phalanx plan tells what"
              + " ranks hold and send");
    }
  }

  /** Its own library computes a few steps of it. */
  private void network(ParsedPlan parsed, Console console) throws Exception {
    JobConfig config = parsed.config();
    Path folder = Path.of("").toAbsolutePath();
    int ranks = worldSize(config);
    Preflight.check(parsed, folder, ranks, DataPreparation.Progress.NONE);
    FamilyRehearsal found = rehearse(config, folder, ranks);
    if (common.isJson) {
      console.result(NetworkPlanOutput.json(found, config, ranks).toString());
    } else {
      NetworkPlanOutput.lines(found, config, ranks).forEach(console::result);
    }
  }

  private static FamilyRehearsal rehearse(JobConfig config, Path folder, int ranks)
      throws InterruptedException, IOException {
    ModelFamily family = ModelFamily.of(config);
    takeMemoryFlags(family.memoryFlags(1));
    try {
      return family.rehearse(config, folder, ranks);
    } catch (NotFiniteException e) {
      throw new CommandException(
          ExitStatus.NOT_FINITE,
          "what this plan's ranks would hold is found by two steps of rank 0, and one of them has"
              + " no number as its loss or its gradient. A lower learning rate may help.",
          e);
    }
  }

  /**
   * What a worker's JVM is started with in place of this one's flags, which are for models whose
   * memory arenas free. JavaCPP reads them when it is first used, which it has not been.
   */
  private static void takeMemoryFlags(List<String> flags) {
    System.clearProperty("org.bytedeco.javacpp.nopointergc");
    for (String flag : flags) {
      String[] property = flag.substring("-D".length()).split("=", 2);
      System.setProperty(property[0], property[1]);
    }
  }

  private int worldSize(JobConfig config) {
    return TrainCommand.worldSize(config, workers);
  }

  // ---------------------------------------------------------------------------------- for tools

  private static ObjectNode json(JobPlan plan, JobConfig config) {
    Rehearsal first = plan.ranks().get(0).rehearsal();
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("parameters", first.parameters());
    json.put("world_size", plan.mesh().worldSize());
    ObjectNode mesh = json.putObject("mesh");
    ObjectNode groups = json.putObject("groups");
    for (Axis axis : plan.mesh().order()) {
      mesh.put(axis.label(), plan.mesh().size(axis));
      ArrayNode ofAxis = groups.putArray(axis.label());
      if (plan.mesh().size(axis) > 1) {
        plan.mesh()
            .groups(axis)
            .forEach(
                group -> {
                  ArrayNode ranks = ofAxis.addArray();
                  group.forEach(ranks::add);
                });
      }
    }
    ArrayNode sharing = groups.putArray("gradients");
    plan.gradientGroups().forEach(group -> group.forEach(sharing.addArray()::add));
    ArrayNode ranks = json.putArray("ranks");
    plan.ranks().forEach(rank -> describe(plan, rank, ranks.addObject()));
    ArrayNode communication = json.putArray("communication");
    first.sent().forEach((axis, operations) -> add(communication, axis, operations));
    ObjectNode pipeline = json.putObject("pipeline");
    pipeline.put("schedule", config.parallel().schedule());
    pipeline.put("micro_batches", plan.microBatches());
    pipeline.put("bubble", plan.bubble());
    pipeline.put("idle", plan.idle());
    ScheduleTable table = plan.pipeline().table();
    ArrayNode peaks = pipeline.putArray("peak_micro_batches");
    for (int rank = 0; rank < table.ranks().size(); rank++) {
      ScheduleCommand.add(peaks, table.peakMicroBatches(rank));
    }
    json.put("tokens_per_step", plan.tokensPerStep());
    json.put("flops_per_step", plan.operationsPerStep());
    JobPlan.Published published = plan.published(config);
    ObjectNode formulas = json.putObject("published_formulas");
    formulas.put("model_state_bytes", published.modelStateBytes());
    published.activationBytes().ifPresent(bytes -> formulas.put("activation_bytes", bytes));
    return json;
  }

  /** What a rank sends for the sake of an axis. */
  static void add(ArrayNode communication, Axis axis, SentOperations operations) {
    operations
        .byName()
        .forEach(
            (operation, sent) ->
                communication
                    .addObject()
                    .put("axis", axis.label())
                    .put("operation", operation)
                    .put("count_per_step", sent.count())
                    .put("messages_sent_per_rank", sent.messages())
                    .put("bytes_sent_per_rank", sent.bytes()));
  }

  private static void addTime(
      ObjectNode json, JobPlan plan, JobConfig config, ClusterDescription described) {
    Cluster cluster = described.in(config.precision());
    StepTime time = plan.time(config, cluster);
    json.put("step_seconds", time.seconds());
    json.put("passes_seconds", time.passesSeconds());
    json.put("exposed_data_seconds", time.exposedDataSeconds());
    json.put("update_seconds", time.updateSeconds());
    json.put("tokens_per_second", plan.tokensPerStep() / time.seconds());
    json.put("fits", plan.peakBytes() <= cluster.usableMemoryBytes());
    json.put("offloaded", plan.isOffloaded(config));
    addRate(json, config, described);
  }

  /** The precision at whose rate devices are taken to compute. */
  private static void addRate(ObjectNode json, JobConfig config, ClusterDescription cluster) {
    json.put("timed_as_precision", cluster.timedAs(config.precision()).label());
  }

  private static ObjectNode json(PlanSearch.Result result, int ranks) {
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("world_size", ranks);
    json.put("layouts", result.layouts());
    json.put("rehearsed", result.rehearsed());
    json.put("cut_short", result.isCutShort());
    ArrayNode plans = json.putArray("plans");
    for (PlanSearch.Found found : result.best()) {
      ObjectNode node = plans.addObject();
      ArrayNode overrides = node.putArray("set");
      found.overrides().forEach(overrides::add);
      node.put("step_seconds", found.time().seconds());
      node.put("tokens_per_second", found.tokensPerSecond());
      node.put("peak_bytes", found.peakBytes());
    }
    return json;
  }

  private static void describe(JobPlan plan, JobPlan.Rank rank, ObjectNode json) {
    Rehearsal rehearsal = rank.rehearsal();
    if (plan.isAbridged()) {
      json.put("stage", plan.mesh().coordinate(rank.number(), Axis.PIPELINE));
    } else {
      json.put("rank", rank.number());
    }
    ObjectNode coordinates = json.putObject("coordinates");
    for (Axis axis : plan.mesh().order()) {
      if (!plan.isAbridged() || axis == Axis.PIPELINE) {
        coordinates.put(axis.label(), plan.mesh().coordinate(rank.number(), axis));
      }
    }
    ArrayNode layers = json.putArray("layers");
    rank.layers().forEach(layers::add);
    json.put("weight_bytes", rehearsal.parameterBytes());
    json.put("gradient_bytes", rehearsal.gradientBytes());
    json.put("optimizer_bytes", rehearsal.optimizerBytes());
    json.put("activation_bytes", rehearsal.peakActivationBytes());
    json.put("peak_bytes", rehearsal.peakBytes());
    json.put("host_peak_bytes", rehearsal.hostPeakBytes());
    json.put("bytes_sent_per_step", rehearsal.bytesSent());
    ObjectNode bytes = json.putObject("bytes_sent");
    ObjectNode messages = json.putObject("messages_sent");
    rehearsal
        .sent()
        .forEach(
            (axis, sent) -> {
              bytes.put(axis.label(), sent.bytes());
              messages.put(axis.label(), sent.messages());
            });
    json.put("flops_per_step", rehearsal.operations());
  }

  // --------------------------------------------------------------------------------- for people

  private static List<String> lines(JobPlan plan, JobConfig config) {
    Rehearsal first = plan.ranks().get(0).rehearsal();
    List<String> lines = new ArrayList<>();
    lines.add(
        String.format(
            Locale.ROOT,
            "%s: %,d parameters, %,d tokens a step in %,d micro-batches a rank, %.4g floating-point"
                + " operations a step",
            config.name(),
            first.parameters(),
            plan.tokensPerStep(),
            plan.microBatches(),
            plan.operationsPerStep()));
    lines.add(
        "mesh: "
            + plan.mesh().worldSize()
            + " ranks = "
            + plan.mesh().order().stream()
                .filter(axis -> axis != Axis.EXPERT || plan.mesh().size(axis) > 1)
                .map(axis -> axis.label() + " " + plan.mesh().size(axis))
                .collect(Collectors.joining(" x ")));
    for (Axis axis : plan.mesh().order()) {
      if (plan.mesh().size(axis) > 1) {
        lines.add(axis.label() + " groups: " + groups(plan.mesh().groups(axis)));
      }
    }
    if (plan.mesh().size(Axis.CONTEXT) > 1) {
      lines.add("ranks that share gradients: " + groups(plan.gradientGroups()));
    }
    if (plan.mesh().size(Axis.PIPELINE) > 1) {
      lines.add(pipeline(plan, config));
    }
    lines.add("");
    lines.add(
        row("rank", "weights", "gradients", "optimizer", "activations", "peak", "sent a step"));
    for (JobPlan.Rank rank : plan.ranks()) {
      Rehearsal held = rank.rehearsal();
      lines.add(
          row(
              rankLabel(plan, rank),
              Quantities.bytes(held.parameterBytes()),
              Quantities.bytes(held.gradientBytes()),
              Quantities.bytes(held.optimizerBytes()),
              Quantities.bytes(held.peakActivationBytes()),
              Quantities.bytes(held.peakBytes()),
              Quantities.bytes(held.bytesSent())));
    }
    lines.add(published(plan.published(config)));
    first.sent().forEach((axis, operations) -> lines.addAll(sent(axis, operations)));
    return lines;
  }

  private static String published(JobPlan.Published published) {
    String activations =
        published.activationBytes().isPresent()
            ? ", activations of the first stage's layers "
                + Quantities.bytes((long) published.activationBytes().getAsDouble())
            : "";
    return "by published formulas, 16-bit: weights, gradients and optimizer "
        + Quantities.bytes((long) published.modelStateBytes())
        + activations;
  }

  private static String pipeline(JobPlan plan, JobConfig config) {
    String layers =
        plan.pipeline().stages().stream()
            .map(stage -> Integer.toString(stage.count()))
            .collect(Collectors.joining(" "));
    return String.format(
        Locale.ROOT,
        "pipeline: %s, stages of %s layers, bubble %.2f %%, idle as they are cut %.2f %%",
        config.parallel().schedule(),
        layers,
        100 * plan.bubble(),
        100 * plan.idle());
  }

  private static List<String> timeLines(
      JobPlan plan, JobConfig config, ClusterDescription described) {
    Cluster cluster = described.in(config.precision());
    StepTime time = plan.time(config, cluster);
    List<String> lines = new ArrayList<>();
    lines.add("");
    lines.add(
        String.format(
            Locale.ROOT,
            "on this cluster: %.4g s a step (passes %.4g, data-parallel communication that nothing"
                + " hides %.4g, update %.4g), %,.0f tokens a second, %.3g Tflop/s a device",
            time.seconds(),
            time.passesSeconds(),
            time.exposedDataSeconds(),
            time.updateSeconds(),
            plan.tokensPerStep() / time.seconds(),
            plan.operationsPerStep() / time.seconds() / plan.mesh().worldSize() / 1e12));
    lines.add(
        String.format(
            Locale.ROOT,
            "memory: %s of the %s that tensors may take%s",
            Quantities.bytes(plan.peakBytes()),
            Quantities.bytes((long) cluster.usableMemoryBytes()),
            plan.peakBytes() > cluster.usableMemoryBytes() ? ": it does not fit" : ""));
    if (plan.isOffloaded(config)) {
      lines.add(
          "host memory: "
              + Quantities.bytes(plan.hostPeakBytes())
              + " a rank, which no file of a cluster describes: the update, timed as if the"
              + " optimizer's state were on the device, takes longer");
    }
    rateLine(config, described).ifPresent(lines::add);
    return lines;
  }

  private static Optional<String> rateLine(JobConfig config, ClusterDescription cluster) {
    JobConfig.Precision precision = config.precision();
    return cluster.timedAs(precision) == precision
        ? Optional.empty()
        : Optional.of(
            "These are times at the rate of "
                + cluster.timedAs(precision).label()
                + ", and the plan computes in "
                + precision.label()
                + ": the cluster's file has no device.peak_tflops_fp32");
  }

  private static List<String> lines(PlanSearch.Result result, int ranks) {
    List<String> lines = new ArrayList<>();
    lines.add(
        String.format(
            Locale.ROOT,
            "%d layouts of %d ranks whose weights fit, %d of them rehearsed%s",
            result.layouts(),
            ranks,
            result.rehearsed(),
            result.isCutShort() ? "; there are slower ones that were not" : ""));
    if (result.layouts() == 0) {
      lines.add(
          "Either no layout of so many ranks suits the model's heads and layers, batch.global and"
              + " parallel.context, or the weights of none fit.");
    } else if (result.best().isEmpty()) {
      lines.add(
          "None of " + (result.isCutShort() ? "these" : "them") + " fits the devices' memory.");
    }
    for (PlanSearch.Found found : result.best()) {
      lines.add(
          String.format(
              Locale.ROOT,
              "%9.4g s a step  %,12.0f tokens/s  %10s  %s",
              found.time().seconds(),
              found.tokensPerSecond(),
              Quantities.bytes(found.peakBytes()),
              found.overrides().stream()
                  .map(each -> "--set '" + each + "'")
                  .collect(Collectors.joining(" "))));
    }
    return lines;
  }

  private static String rankLabel(JobPlan plan, JobPlan.Rank rank) {
    if (!plan.isAbridged()) {
      return Integer.toString(rank.number());
    }
    return plan.ranks().size() == 1
        ? "each"
        : "st. " + plan.mesh().coordinate(rank.number(), Axis.PIPELINE);
  }

  /** What rank 0 sends for the sake of an axis; nothing where that is nothing. */
  static List<String> sent(Axis axis, SentOperations operations) {
    List<String> lines = new ArrayList<>();
    if (!operations.byName().isEmpty()) {
      lines.add("");
      lines.add("what rank 0 sends in a step, " + axis.label() + " axis:");
    }
    operations
        .byName()
        .forEach(
            (name, sent) ->
                lines.add(
                    String.format(
                        Locale.ROOT,
                        "  %-15s %6d  %10s in %d messages",
                        name,
                        sent.count(),
                        Quantities.bytes(sent.bytes()),
                        sent.messages())));
    return lines;
  }

  /** Of a table whose first column has short names. */
  static String row(String... cells) {
    return String.format(Locale.ROOT, "%-6s" + " %11s".repeat(cells.length - 1), (Object[]) cells);
  }

  /** The first ones of many. */
  private static String groups(List<List<Integer>> groups) {
    int most = 4;
    String shown =
        groups.stream().limit(most).map(PlanCommand::group).collect(Collectors.joining(" "));
    return groups.size() > most ? shown + " and " + (groups.size() - most) + " more" : shown;
  }

  private static String group(List<Integer> ranks) {
    int most = 8;
    String shown = ranks.stream().limit(most).map(String::valueOf).collect(Collectors.joining(" "));
    return "[" + shown + (ranks.size() > most ? " .. " + ranks.get(ranks.size() - 1) : "") + "]";
  }
}
