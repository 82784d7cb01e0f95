package dev.phalanx.trainer;

import dev.phalanx.parallelism.expert.Mixture;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.mesh.DeviceMesh;
import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.parallelism.plan.StepTime;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.JobConfigParser;
import dev.phalanx.trainer.config.JobConfigValidator;
import dev.phalanx.trainer.config.JobConfigWriter;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.model.TransformerConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;

/**
 * Looks for the layouts of a job that fit the memory of a cluster's devices and take the least
 * time.
 *
 * <p>Every layout that divides the job evenly is timed roughly, by operations, idle time and what
 * tensor parallelism sends. From the fastest on they are rehearsed: some ranks, and as many
 * micro-batches as fill the pipeline, for what follows is alike. Those that fit are kept, until no
 * other could be among the best.
 */
public final class PlanSearch {
  private static final int MOST_REHEARSED = 150;
  private static final List<Integer> MICRO_BATCHES = List.of(1, 2, 4, 8, 16);
  private static final List<Integer> VIRTUAL_STAGES = List.of(2, 3, 4);

  /**
   * A layout that fits.
   *
   * @param overrides of the plan, as {@code --set} takes them
   * @param peakBytes of the rank that holds most
   */
  public record Found(
      List<String> overrides, long peakBytes, StepTime time, double tokensPerSecond) {}

  /**
   * What has been looked at.
   *
   * @param isCutShort whether others, which are not among the fastest by the rough measure, were
   *     left out
   */
  public record Result(int layouts, int rehearsed, boolean isCutShort, List<Found> best) {}

  /**
   * @param roughSeconds less than a step takes
   */
  private record Candidate(List<String> overrides, JobConfig config, double roughSeconds) {}

  private final JobConfig base;
  private final ModelSetup setup;
  private final Path baseDirectory;
  private final int worldSize;
  private final Cluster cluster;

  private PlanSearch(
      JobConfig base, ModelSetup setup, Path baseDirectory, int worldSize, Cluster cluster) {
    this.base = base;
    this.setup = setup;
    this.baseDirectory = baseDirectory;
    this.worldSize = worldSize;
    this.cluster = cluster;
  }

  /**
   * @param plan whose model, batch, precision, optimizer and context axis stay as they are
   * @param most plans to propose
   */
  public static Result search(
      ParsedPlan plan, Path baseDirectory, int worldSize, Cluster cluster, int most)
      throws IOException, InterruptedException {
    ModelSetup setup = JobPlan.setup(plan.config(), baseDirectory);
    JobConfig complete = plan.config().withModel(setup.resolved(plan.config().transformer()));
    return new PlanSearch(complete, setup, baseDirectory, worldSize, cluster).run(most);
  }

  private Result run(int most) throws IOException, InterruptedException {
    List<Candidate> candidates = candidates();
    List<Found> found = new ArrayList<>();
    int rehearsed = 0;
    boolean isCutShort = false;
    try (Ahead<Found> ahead =
        new Ahead<>(
            candidates.subList(0, Math.min(candidates.size(), MOST_REHEARSED)).stream()
                .<Callable<Found>>map(candidate -> () -> rehearse(candidate))
                .toList())) {
      for (Candidate candidate : candidates) {
        boolean cannotBeAmongTheBest =
            found.size() >= most && candidate.roughSeconds() > found.get(most - 1).time().seconds();
        isCutShort = !cannotBeAmongTheBest && rehearsed == MOST_REHEARSED;
        if (cannotBeAmongTheBest || isCutShort) {
          break;
        }
        rehearsed++;
        Found tried = ahead.next();
        if (tried.peakBytes() <= cluster.usableMemoryBytes()) {
          found.add(tried);
          found.sort(Comparator.comparingDouble(each -> each.time().seconds()));
        }
      }
    }
    return new Result(
        candidates.size(), rehearsed, isCutShort, found.subList(0, Math.min(most, found.size())));
  }

  // -------------------------------------------------------------------------------- candidates

  /** All valid layouts, the one that takes the least time by a rough measure first. */
  private List<Candidate> candidates() {
    String yaml = JobConfigWriter.toYaml(base);
    TransformerConfig model = setup.config();
    List<Candidate> candidates = new ArrayList<>();
    int ranks = worldSize / base.parallel().context();
    for (int tensor : divisors(ranks)) {
      if (tensor > cluster.devicesPerHost() || model.heads() % tensor != 0) {
        continue;
      }
      for (int pipeline : divisors(ranks / tensor)) {
        if (pipeline <= model.layers()) {
          addLayouts(yaml, tensor, pipeline, candidates);
        }
      }
    }
    candidates.sort(Comparator.comparingDouble(Candidate::roughSeconds));
    return candidates;
  }

  private void addLayouts(String yaml, int tensor, int pipeline, List<Candidate> candidates) {
    int context = base.parallel().context();
    int data = worldSize / context / tensor / pipeline;
    for (int micro : MICRO_BATCHES) {
      if (base.batch().global() % ((long) micro * data) != 0) {
        continue;
      }
      for (int expert : expertSizes(data)) {
        addVariants(yaml, new Sizes(tensor, pipeline, data, micro, expert), candidates);
      }
    }
  }

  /** What is said of a layout before its ZeRO stage, recomputation and schedule. */
  private record Sizes(int tensor, int pipeline, int data, int micro, int expert) {}

  private void addVariants(String yaml, Sizes sizes, List<Candidate> candidates) {
    int context = base.parallel().context();
    String words =
        (context > 1 ? ", context: " + context : "")
            + (sizes.expert() > 1 ? ", expert: " + sizes.expert() : "");
    int copies = sizes.data() / sizes.expert() * context;
    for (int zero : zeroStages(copies, sizes.pipeline())) {
      for (String recompute : List.of("none", "full")) {
        for (String schedule : schedules(sizes.pipeline(), recompute)) {
          List<String> overrides =
              List.of(
                  "parallel={tensor: %d%s, pipeline: %d, data: %d, sequence_parallel: %b%s}"
                      .formatted(
                          sizes.tensor(),
                          words,
                          sizes.pipeline(),
                          sizes.data(),
                          sizes.tensor() > 1,
                          schedule),
                  "batch.micro=" + sizes.micro(),
                  "sharding={zero: " + zero + "}",
                  "model.recompute=" + recompute);
          ParsedPlan plan = JobConfigParser.parse("plan", yaml, overrides);
          if (JobConfigValidator.problemsOf(plan, worldSize).isEmpty()
              && leastBytes(plan.config(), copies) <= cluster.usableMemoryBytes()) {
            candidates.add(
                new Candidate(overrides, plan.config(), roughSeconds(plan.config(), sizes.data())));
          }
        }
      }
    }
  }

  /** How many of the data-parallel ranks may divide the experts. */
  private List<Integer> expertSizes(int data) {
    return setup
        .config()
        .mixture()
        .map(mixture -> divisors(mixture.experts()))
        .orElse(List.of(1))
        .stream()
        .filter(expert -> data % expert == 0)
        .toList();
  }

  /**
   * How a layout's micro-batches may be ordered, as more words of {@code parallel}. A layer that is
   * computed anew has no backward pass in two parts, which zero-bubble schedules live on.
   */
  private static List<String> schedules(int pipeline, String recompute) {
    if (pipeline == 1) {
      return List.of("");
    }
    List<String> schedules = new ArrayList<>(List.of(", schedule: 1f1b"));
    for (int stages : VIRTUAL_STAGES) {
      schedules.add(", schedule: interleaved, virtual_stages: " + stages);
    }
    if (recompute.equals("none")) {
      schedules.add(", schedule: zb-h1");
      schedules.add(", schedule: zb-h2");
    }
    return schedules;
  }

  /** Stages that send in every micro-batch do not suit a pipeline. */
  private static List<Integer> zeroStages(int copies, int pipeline) {
    if (copies == 1) {
      return List.of(0);
    }
    return pipeline == 1 ? List.of(0, 1, 2, 3) : List.of(0, 1);
  }

  private static List<Integer> divisors(int number) {
    return IntStream.rangeClosed(1, number)
        .filter(divisor -> number % divisor == 0)
        .boxed()
        .toList();
  }

  /** Of what a rank holds between steps, if stages and shards were perfectly even. */
  private double leastBytes(JobConfig config, int copies) {
    int width = TrainingState.computeType(config.precision()).byteSize();
    int zero = config.sharding().zero();
    JobConfig.Parallel parallel = config.parallel();
    double elements =
        setup.config().parametersOfRank(parallel.tensor(), parallel.pipeline(), parallel.expert());
    boolean hasMoments = config.optimizer().algorithm() instanceof JobConfig.Optimizer.AdamW;
    int optimizer = (hasMoments ? 2 * Float.BYTES : 0) + (width < Float.BYTES ? Float.BYTES : 0);
    return elements
        * (width / (zero == 3 ? (double) copies : 1)
            + Float.BYTES / (zero >= 2 ? (double) copies : 1)
            + optimizer / (zero >= 1 ? (double) copies : 1));
  }

  /** Operations at full rate, the pipeline's idle time, and half of what divided matrices send. */
  private double roughSeconds(JobConfig config, int data) {
    TransformerConfig model = setup.config();
    int tensor = config.parallel().tensor();
    int pipeline = config.parallel().pipeline();
    double tokens = (double) config.batch().global() * model.sequence();
    double operations =
        model.flopsPerToken()
            * tokens
            * (config.transformer().recompute() == JobConfig.Recompute.FULL ? 4 / 3.0 : 1);
    double compute = operations / worldSize / cluster.operationsPerSecond();
    double microBatches = (double) config.batch().global() / config.batch().micro() / data;
    double idle = (pipeline - 1) / microBatches * idleShare(config.parallel());
    double width = TrainingState.computeType(config.precision()).byteSize();
    double sent =
        4.0
            * tokens
            / data
            / config.parallel().context()
            * model.hidden()
            * width
            * (tensor - 1)
            / tensor
            * model.layers()
            / pipeline;
    return (compute + (sent + exchanged(config, data)) / cluster.withinHost().bytesPerSecond())
        * (1 + idle);
  }

  /** Bytes of a rank's tokens on their way to experts and back, forward and backward. */
  private double exchanged(JobConfig config, int data) {
    TransformerConfig model = setup.config();
    int expert = config.parallel().expert();
    double tokens = (double) config.batch().global() * model.sequence() / data;
    return 4.0
        * tokens
        / config.parallel().context()
        * model.mixture().map(Mixture::perToken).orElse(0)
        * model.hidden()
        * TrainingState.computeType(config.precision()).byteSize()
        * (expert - 1)
        / expert
        * model.layers()
        / config.parallel().pipeline();
  }

  /** Of the idle time that 1F1B has; forward and both halves of backward are about equal. */
  private static double idleShare(JobConfig.Parallel parallel) {
    return switch (parallel.schedule()) {
      case "interleaved" -> 1.0 / parallel.virtualStages();
      case "zb-h1" -> 1 / 3.0;
      case "zb-h2" -> 0;
      default -> 1;
    };
  }

  // --------------------------------------------------------------------------------- rehearsals

  private Found rehearse(Candidate candidate) throws IOException, InterruptedException {
    JobConfig config = candidate.config();
    DeviceMesh mesh = config.parallel().mesh(worldSize);
    ModelSetup own =
        new ModelSetup(
            setup
                .config()
                .withRecompute(config.transformer().recompute() == JobConfig.Recompute.FULL),
            setup.initialization(),
            setup.weights());
    long perMicroBatch = config.batch().micro() * config.parallel().dataSize(worldSize);
    long microBatches = config.batch().global() / perMicroBatch;
    long shown = Math.min(microBatches, filling(config.parallel(), microBatches));
    JobConfig shorter =
        config.withBatch(new JobConfig.Batch(shown * perMicroBatch, config.batch().micro()));
    PipelinePlan shortPipeline = PipelinePlan.of(shorter, own.config(), baseDirectory, worldSize);
    List<Integer> ranks = mesh.group(0, Axis.PIPELINE);
    List<Rehearsal> places = new ArrayList<>();
    for (int place = 0; place < ranks.size(); place++) {
      boolean isLikeTheOneBefore =
          place > 1
              && place < ranks.size() - 1
              && layerCounts(shortPipeline, place).equals(layerCounts(shortPipeline, place - 1));
      places.add(
          isLikeTheOneBefore
              ? places.get(place - 1) // which holds a micro-batch more
              : Rehearsal.of(shorter, own, shortPipeline, ranks.get(place), worldSize));
    }
    StepTime time =
        new PredictedTime(config, own.config(), mesh)
            .on(
                cluster,
                PipelinePlan.of(config, own.config(), baseDirectory, worldSize),
                places,
                (double) microBatches / shown);
    double tokens = (double) config.batch().global() * own.config().sequence();
    long peak = places.stream().mapToLong(Rehearsal::peakBytes).max().orElse(0);
    return new Found(candidate.overrides(), peak, time, tokens / time.seconds());
  }

  /** Micro-batches after which a rank holds as many as it ever does. */
  private static long filling(JobConfig.Parallel parallel, long microBatches) {
    int ranks = parallel.pipeline();
    return switch (parallel.schedule()) {
      case "interleaved" -> { // two groups of the size that all have
        long groups = Math.max(1, microBatches / ranks);
        yield 2 * ((microBatches + groups - 1) / groups);
      }
      case "zb-h2" -> 2L * ranks;
      default -> ranks + 1L;
    };
  }

  private static List<Integer> layerCounts(PipelinePlan pipeline, int place) {
    return pipeline.stagesOf(place).stream()
        .map(stage -> pipeline.stages().get(stage).count())
        .toList();
  }
}
