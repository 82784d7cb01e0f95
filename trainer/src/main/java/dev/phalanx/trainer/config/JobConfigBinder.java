package dev.phalanx.trainer.config;

import dev.phalanx.parallelism.pipeline.PipelineSchedules;
import dev.phalanx.trainer.config.JobConfig.Algorithm;
import dev.phalanx.trainer.config.JobConfig.Axis;
import dev.phalanx.trainer.config.JobConfig.Batch;
import dev.phalanx.trainer.config.JobConfig.Checkpoint;
import dev.phalanx.trainer.config.JobConfig.Communication;
import dev.phalanx.trainer.config.JobConfig.Data;
import dev.phalanx.trainer.config.JobConfig.DeviceKind;
import dev.phalanx.trainer.config.JobConfig.EngineKind;
import dev.phalanx.trainer.config.JobConfig.Evaluation;
import dev.phalanx.trainer.config.JobConfig.Log;
import dev.phalanx.trainer.config.JobConfig.LossScaling;
import dev.phalanx.trainer.config.JobConfig.Model;
import dev.phalanx.trainer.config.JobConfig.Network;
import dev.phalanx.trainer.config.JobConfig.Offload;
import dev.phalanx.trainer.config.JobConfig.Parallel;
import dev.phalanx.trainer.config.JobConfig.Precision;
import dev.phalanx.trainer.config.JobConfig.Sharding;
import dev.phalanx.trainer.config.JobConfig.Transport;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The top level of the plan file, and its smaller sections: every key with its type, range and
 * default.
 */
final class JobConfigBinder {
  private static final int LARGEST_AXIS = 65536;

  private final String source;
  private final Problems problems;
  private final Map<String, Position> positions = new HashMap<>();

  JobConfigBinder(String source, Problems problems) {
    this.source = source;
    this.problems = problems;
  }

  /** Where {@link Problems} has found something, other values stand in for what is wrong. */
  ParsedPlan bind(PlanNode.Mapping plan) {
    Section top = new Section(plan, problems, positions);
    String name = top.text("name", "quickstart").orElse(stem());
    long seed = top.whole("seed").orElse(1234L);
    EngineKind engine = top.choice("engine", EngineKind.class).orElse(EngineKind.AUTO);
    DeviceKind device = top.choice("device", DeviceKind.class).orElse(DeviceKind.AUTO);
    Precision precision =
        top.kind(
            "precision",
            Precision.class,
            Optional.of(Precision.FP32),
            Map.of(Precision.FP16, List.of("loss_scaling")));
    Optional<LossScaling> lossScaling =
        precision == Precision.FP16
            ? Optional.of(lossScaling(top.section("loss_scaling")))
            : Optional.empty();
    int threads = Math.toIntExact(top.count("threads").from(0).to(4096).orElse(0L));
    Section dataSection =
        top.requiredSection("data", "{kind: text, path: book.txt, tokenizer: bytes}");
    Data data = DataBinder.bind(dataSection, seed);
    Section modelSection =
        top.requiredSection(
            "model", "{family: gpt2, layers: 4, hidden: 128, heads: 4, sequence: 128}");
    Model model = ModelBinder.bind(modelSection, data);
    boolean isNetwork = model instanceof Network;
    Batch batch = batch(top.requiredSection("batch", "{global: 32, micro: 8}"), isNetwork);
    long steps = top.whole("steps").from(1).to(Integer.MAX_VALUE).example(1000L).required();
    JobConfig.Optimizer optimizer =
        OptimizerBinder.bind(
            isNetwork
                ? top.section("optimizer")
                : top.requiredSection("optimizer", "{kind: adamw, lr: 3.0e-4}"),
            steps,
            isNetwork);
    Parallel parallel = parallel(top.section("parallel"));
    Sharding sharding = sharding(top.section("sharding"));
    Communication communication = communication(top.section("communication"));
    Optional<Checkpoint> checkpoint =
        top.optionalSection("checkpoint").map(JobConfigBinder::checkpoint);
    Log log = log(top.section("log"));
    Evaluation evaluation = evaluation(top.section("evaluation"), isNetwork);
    top.end();
    JobConfig config =
        new JobConfig(
            name,
            seed,
            engine,
            device,
            precision,
            lossScaling,
            threads,
            model,
            data,
            batch,
            optimizer,
            steps,
            parallel,
            sharding,
            communication,
            checkpoint,
            log,
            evaluation);
    return new ParsedPlan(config, new Positions(source, positions));
  }

  /** The file's name without its ending: what a job is called that has no name. */
  private String stem() {
    String file = source.substring(Math.max(source.lastIndexOf('/'), source.lastIndexOf('\\')) + 1);
    String stem = file.contains(".") ? file.substring(0, file.lastIndexOf('.')) : file;
    return stem.isBlank() ? "job" : stem;
  }

  private static LossScaling lossScaling(Section section) {
    LossScaling scaling =
        new LossScaling(
            section.real("initial").above(0).below(0x1p60).orElse(65536.0),
            section.count("growth_interval").from(1).orElse(2000L));
    section.end();
    return scaling;
  }

  private static Batch batch(Section section, boolean isNetwork) {
    long global = section.count("global").from(1).example(32L).required();
    Key<Long> micro = section.count("micro").from(1).example(8L);
    long samples = isNetwork ? micro.optional().orElse(0L) : micro.required();
    boolean isUneven = !isNetwork && section.flag("uneven").orElse(false);
    section.end();
    return new Batch(global, samples, isUneven);
  }

  private static Parallel parallel(Section section) {
    int data = rest(section, "data");
    int tensor = axis(section, "tensor");
    int pipeline = axis(section, "pipeline");
    int context = axis(section, "context");
    int expert = axis(section, "expert");
    List<Axis> order = order(section);
    boolean isSequenceParallel = section.flag("sequence_parallel").orElse(false);
    String schedule = schedule(section);
    long fewest = schedule.equals("interleaved") && pipeline > 1 ? 2 : 1; // that make a difference
    long stages = section.count("virtual_stages").from(1).to(1024).orElse(fewest);
    Parallel parallel =
        new Parallel(
            data,
            tensor,
            pipeline,
            context,
            expert,
            order,
            isSequenceParallel,
            schedule,
            Math.toIntExact(stages));
    section.end();
    checkWorld(section, parallel);
    return parallel;
  }

  /** Refuses sizes whose product nobody has ranks for, before anything multiplies them. */
  private static void checkWorld(Section section, Parallel parallel) {
    double ranks =
        (double) Math.abs(parallel.data())
            * parallel.tensor()
            * parallel.pipeline()
            * parallel.context();
    if (ranks > JobConfig.MOST_RANKS) {
      section.reportSelf(
          "the sizes multiply to " + Numbers.text(ranks) + " ranks",
          "write sizes for at most " + JobConfig.MOST_RANKS + " ranks");
    }
  }

  private static int axis(Section section, String name) {
    return Math.toIntExact(section.count(name).from(1).to(LARGEST_AXIS).orElse(1L));
  }

  /** A number of ranks, or -1 for all there are. */
  private static int rest(Section section, String name) {
    long ranks = section.count(name).from(-1).to(LARGEST_AXIS).orElse(-1L);
    if (ranks == 0) {
      section
          .find(name)
          .ifPresent(
              node ->
                  section.report(
                      node.position(),
                      name,
                      "expected a number of ranks or -1, found the whole number 0",
                      "write '" + name + ": -1' for all ranks that are left"));
    }
    return Math.toIntExact(ranks);
  }

  private static List<Axis> order(Section section) {
    return new ListKey<>(
            section,
            "order",
            section.choice("order", Axis.class),
            Axis.values().length,
            true,
            "a list of tensor, context, data and pipeline in some order")
        .orElse(List.of(Axis.TENSOR, Axis.CONTEXT, Axis.DATA, Axis.PIPELINE));
  }

  /** A schedule's name; what has a folder or an ending is the path of a table. */
  private static String schedule(Section section) {
    String schedule = section.text("schedule", "1f1b").orElse("1f1b");
    boolean isPath = schedule.contains("/") || schedule.contains(".");
    if (!isPath && !PipelineSchedules.NAMES.contains(schedule)) {
      section
          .find("schedule")
          .ifPresent(
              node ->
                  section.report(
                      node.position(),
                      "schedule",
                      "expected one of "
                          + String.join(", ", PipelineSchedules.NAMES)
                          + " or the path of a table, found "
                          + node.describe(),
                      Nearest.of(schedule, PipelineSchedules.NAMES)
                          .map(near -> "did you mean '" + near + "'?")
                          .orElse("write a path with its folder, as in './" + schedule + "'")));
    }
    return schedule;
  }

  private static Sharding sharding(Section section) {
    Sharding sharding =
        new Sharding(
            Math.toIntExact(section.count("zero").from(0).to(3).orElse(0L)),
            rest(section, "shard_size"),
            section.choice("offload", Offload.class).orElse(Offload.NONE),
            section.flag("reshard_after_forward").orElse(true));
    section.end();
    return sharding;
  }

  private static Communication communication(Section section) {
    Communication communication =
        new Communication(
            section.choice("transport", Transport.class).orElse(Transport.AUTO),
            section.choice("algorithm", Algorithm.class).orElse(Algorithm.AUTO),
            section.real("bucket_mb").above(0).below(1 << 20).orElse(25.0),
            section.flag("overlap").orElse(true),
            section.real("timeout_s").from(0.001).below(1e9).orElse(60.0),
            Math.toIntExact(section.count("streams").from(1).to(16).orElse(1L)),
            CompressionBinder.bind(section.section("compression")));
    section.end();
    return communication;
  }

  private static Checkpoint checkpoint(Section section) {
    Checkpoint checkpoint =
        new Checkpoint(
            section.text("dir", "runs/job/checkpoints").required(),
            section.count("every").from(0).orElse(500L),
            Math.toIntExact(section.count("keep").from(1).orElse(3L)),
            section.flag("async").orElse(true));
    section.end();
    return checkpoint;
  }

  private static Log log(Section section) {
    Log log =
        new Log(
            section.count("every").from(1).orElse(10L),
            section.text("tensorboard", "runs/job/tensorboard").optional(),
            section.text("report", "runs/job/report.json").optional());
    section.end();
    return log;
  }

  /** Test data of networks is small: they are evaluated on all of it where nothing else is said. */
  private static Evaluation evaluation(Section section, boolean isNetwork) {
    Evaluation evaluation =
        new Evaluation(
            section.count("every").from(0).orElse(0L),
            section.count("batches").from(isNetwork ? 0 : 1).orElse(isNetwork ? 0L : 8L),
            section.real("fraction").above(0).below(1).orElse(0.05));
    section.end();
    return evaluation;
  }
}
