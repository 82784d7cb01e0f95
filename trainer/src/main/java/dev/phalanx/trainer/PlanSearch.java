package dev.phalanx.trainer;

import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.mesh.DeviceMesh;
import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.parallelism.plan.StepTime;
import dev.phalanx.trainer.config.ConfigurationException;
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
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;

/**
 * Looks for the layouts of a job that fit the memory of a cluster's devices and take the least
 * time.
 *
 * <p>Of every layout that divides the job evenly it is calculated what it takes at least ({@link
 * LayoutBounds}). From the fastest on those that could fit are rehearsed: some ranks, and as many
 * micro-batches as fill the pipeline, for what follows is alike. Those that fit are kept, until no
 * other could be among the best.
 */
public final class PlanSearch {
  /** A layout for any plan, of the keys that layouts are made of, as {@code --set} takes them. */
  public static final List<String> ONE_RANK =
      List.of("parallel={}", "batch.micro=1", "sharding={}", "model.recompute=none");

  private static final int MOST_REHEARSED = 150;
  private static final List<Long> MICRO_BATCHES = List.of(1L, 2L, 4L, 8L, 16L);
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
   * @param leastSeconds that a step takes
   */
  private record Candidate(List<String> overrides, JobConfig config, double leastSeconds) {
    /** The same whatever the size of a micro-batch; larger ones take more memory. */
    JobConfig layout() {
      return config.withBatch(new JobConfig.Batch(config.batch().global(), 0));
    }

    long micro() {
      return config.batch().micro();
    }

    /**
     * @param tooLarge the smallest micro-batches that take more memory than there is, by layout
     */
    boolean isTooLarge(Map<JobConfig, Long> tooLarge) {
      return micro() >= tooLarge.getOrDefault(layout(), Long.MAX_VALUE);
    }
  }

  private final JobConfig base;
  private final ModelSetup setup;
  private final Path baseDirectory;
  private final int worldSize;
  private final Cluster cluster;
  private final LayoutBounds bounds;

  private PlanSearch(
      JobConfig base, ModelSetup setup, Path baseDirectory, int worldSize, Cluster cluster) {
    this.base = base;
    this.setup = setup;
    this.baseDirectory = baseDirectory;
    this.worldSize = worldSize;
    this.cluster = cluster;
    this.bounds = new LayoutBounds(setup.config(), cluster, worldSize);
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
    int context = complete.parallel().context();
    if (worldSize % context != 0) {
      throw ConfigurationException.at(
          plan.positions(),
          "parallel.context",
          "the search keeps parallel.context, and "
              + context
              + " does not divide "
              + worldSize
              + " ranks. Write a size that does, or another --workers");
    }
    return new PlanSearch(complete, setup, baseDirectory, worldSize, cluster).run(most);
  }

  private Result run(int most) throws IOException, InterruptedException {
    List<Candidate> candidates = candidates();
    List<Found> found = new ArrayList<>();
    Map<JobConfig, Long> tooLarge = new ConcurrentHashMap<>(); // the smallest, of each layout
    int rehearsed = 0;
    boolean isCutShort = false;
    try (Ahead<Optional<Found>> ahead =
        new Ahead<>(
            candidates.stream()
                .<Callable<Optional<Found>>>map(candidate -> () -> tried(candidate, tooLarge))
                .toList())) {
      for (Candidate candidate : candidates) {
        boolean cannotBeAmongTheBest =
            found.size() >= most && candidate.leastSeconds() > found.get(most - 1).time().seconds();
        isCutShort = !cannotBeAmongTheBest && rehearsed == MOST_REHEARSED;
        if (cannotBeAmongTheBest || isCutShort) {
          break;
        }
        Optional<Found> tried = ahead.next();
        if (tried.isEmpty() || candidate.isTooLarge(tooLarge)) {
          continue; // though it may have been rehearsed, before its turn
        }
        rehearsed++;
        if (tried.get().peakBytes() > cluster.usableMemoryBytes()) {
          tooLarge.merge(candidate.layout(), candidate.micro(), Math::min);
        } else {
          found.add(tried.get());
          found.sort(Comparator.comparingDouble(each -> each.time().seconds()));
        }
      }
    }
    return new Result(
        candidates.size(), rehearsed, isCutShort, found.subList(0, Math.min(most, found.size())));
  }

  // -------------------------------------------------------------------------------- candidates

  /** All valid layouts, the one that could take the least time first. */
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
    candidates.sort(Comparator.comparingDouble(Candidate::leastSeconds));
    return candidates;
  }

  private void addLayouts(String yaml, int tensor, int pipeline, List<Candidate> candidates) {
    int context = base.parallel().context();
    int data = worldSize / context / tensor / pipeline;
    for (long micro : microBatches()) {
      if (base.batch().global() % (micro * data) != 0) {
        continue;
      }
      for (int expert : expertSizes(data)) {
        addVariants(yaml, new Sizes(tensor, pipeline, data, micro, expert), candidates);
      }
    }
  }

  /** What is said of a layout before its ZeRO stage, recomputation and schedule. */
  private record Sizes(int tensor, int pipeline, int data, long micro, int expert) {}

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
                          isSequenceParallel(sizes),
                          schedule),
                  "batch.micro=" + sizes.micro(),
                  "sharding={zero: " + zero + "}",
                  "model.recompute=" + recompute);
          ParsedPlan plan = JobConfigParser.parse("plan", yaml, overrides);
          if (JobConfigValidator.problemsOf(plan, worldSize).isEmpty()
              && bounds.stateBytes(plan.config()) <= cluster.usableMemoryBytes()) {
            candidates.add(new Candidate(overrides, plan.config(), bounds.seconds(plan.config())));
          }
        }
      }
    }
  }

  /** The plan's own among them. */
  private Set<Long> microBatches() {
    Set<Long> sizes = new TreeSet<>(MICRO_BATCHES);
    sizes.add(base.batch().micro());
    return sizes;
  }

  /** Where tokens can be divided among the ranks that divide matrices, which saves memory. */
  private boolean isSequenceParallel(Sizes sizes) {
    long tokens = setup.config().sequence() / base.parallel().context(); // of one sequence
    boolean isEvaluated = base.evaluation().every() > 0; // also with single sequences
    return sizes.tensor() > 1
        && (isEvaluated ? tokens : sizes.micro() * tokens) % sizes.tensor() == 0;
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

  // --------------------------------------------------------------------------------- rehearsals

  /** Empty where it is known, without a rehearsal, that there is not memory enough. */
  private Optional<Found> tried(Candidate candidate, Map<JobConfig, Long> tooLarge)
      throws IOException, InterruptedException {
    if (candidate.isTooLarge(tooLarge)) {
      return Optional.empty();
    }
    JobConfig config = candidate.config();
    JobConfig shorter = shorter(config);
    PipelinePlan pipeline = PipelinePlan.of(shorter, setup.config(), baseDirectory, worldSize);
    return bounds.peakBytes(config, pipeline) > cluster.usableMemoryBytes()
        ? Optional.empty()
        : Optional.of(rehearse(candidate, shorter, pipeline));
  }

  /** The same with as many micro-batches as fill the pipeline. */
  private JobConfig shorter(JobConfig config) {
    long microBatches = config.microBatchesPerStep(worldSize);
    long shown = Math.min(microBatches, filling(config.parallel(), microBatches));
    JobConfig.Batch batch = config.batch();
    return config.withBatch(
        new JobConfig.Batch(
            batch.global() / microBatches * shown, batch.micro(), batch.isUneven()));
  }

  private Found rehearse(Candidate candidate, JobConfig shorter, PipelinePlan shortPipeline)
      throws IOException, InterruptedException {
    JobConfig config = candidate.config();
    DeviceMesh mesh = config.parallel().mesh(worldSize);
    ModelSetup own =
        new ModelSetup(
            setup
                .config()
                .withRecompute(config.transformer().recompute() == JobConfig.Recompute.FULL),
            setup.initialization(),
            setup.weights());
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
              : Rehearsal.of(
                  shorter,
                  own,
                  shortPipeline,
                  ranks.get(place),
                  worldSize,
                  JobPlan.deviceOfCluster(config)));
    }
    StepTime time =
        new PredictedTime(config, own.config(), mesh)
            .on(
                cluster,
                PipelinePlan.of(config, own.config(), baseDirectory, worldSize),
                places,
                (double) config.batch().global() / shorter.batch().global());
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
