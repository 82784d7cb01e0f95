package dev.phalanx.trainer;

import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.mesh.DeviceMesh;
import dev.phalanx.parallelism.pipeline.ScheduleSimulator;
import dev.phalanx.parallelism.pipeline.StageCosts;
import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.parallelism.plan.PublishedMemory;
import dev.phalanx.parallelism.plan.StepTime;
import dev.phalanx.tensor.Device;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.config.ParsedPlan;
import dev.phalanx.trainer.data.BatchPartition;
import dev.phalanx.trainer.data.DataPreparation;
import dev.phalanx.trainer.model.Family;
import dev.phalanx.trainer.model.TransformerConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * What a job would be: the ranks' arrangement and what each of them would hold, compute and send.
 * Nothing is started.
 *
 * @param model complete sizes
 * @param pipeline the stages and their schedule, of one stage where there is no pipeline
 * @param tokensPerStep of all ranks
 * @param ranks each rank, or of many the first one of each place in the pipeline: others have the
 *     same but for padding, with muon for which matrices are theirs to update, and for a sample
 *     less where the batch does not divide evenly
 */
public record JobPlan(
    DeviceMesh mesh,
    TransformerConfig model,
    PipelinePlan pipeline,
    long tokensPerStep,
    List<Rank> ranks) {
  /** Of more ranks only the first one of each place in the pipeline is looked at. */
  private static final int MOST_RANKS = 64;

  private static final Device ACCELERATOR = new Device(Device.Kind.CUDA, 0);

  /**
   * One rank's step.
   *
   * @param layers that it computes
   * @param sequences that it computes; where it has none left for a micro-batch, one that counts
   *     nowhere
   */
  public record Rank(int number, List<Integer> layers, long sequences, Rehearsal rehearsal) {}

  public JobPlan {
    ranks = List.copyOf(ranks);
  }

  /**
   * A job whose ranks compute on the CPU, unless the plan names accelerators.
   *
   * @param plan valid for this number of ranks, as far as its own text tells
   * @throws dev.phalanx.trainer.config.ConfigurationException where sizes that a file gives do not
   *     fit the ranks, or the schedule does not fit the job
   * @throws IOException where files that give the model's sizes cannot be read
   */
  public static JobPlan of(ParsedPlan plan, Path baseDirectory, int worldSize)
      throws IOException, InterruptedException {
    boolean isOnCpu = plan.config().device() != JobConfig.DeviceKind.CUDA;
    return of(plan, baseDirectory, worldSize, isOnCpu ? Device.CPU : ACCELERATOR);
  }

  /**
   * {@link #of} on the devices of a described cluster, which have memory of their own unless the
   * plan names the CPU.
   */
  public static JobPlan onCluster(ParsedPlan plan, Path baseDirectory, int worldSize)
      throws IOException, InterruptedException {
    return of(plan, baseDirectory, worldSize, deviceOfCluster(plan.config()));
  }

  /** What ranks compute on in a cluster that a user describes. */
  static Device deviceOfCluster(JobConfig config) {
    return config.device() == JobConfig.DeviceKind.CPU ? Device.CPU : ACCELERATOR;
  }

  private static JobPlan of(ParsedPlan plan, Path baseDirectory, int worldSize, Device device)
      throws IOException, InterruptedException {
    JobConfig config = plan.config();
    ModelSetup setup = setup(config, baseDirectory);
    DeviceMesh mesh = config.parallel().mesh(worldSize);
    PipelinePlan pipeline = PipelinePlan.checked(plan, setup, baseDirectory, worldSize);
    List<Integer> shown = shown(mesh);
    List<Rank> ranks = new ArrayList<>();
    try (Ahead<Rehearsal> rehearsals =
        new Ahead<>(
            shown.stream()
                .<Callable<Rehearsal>>map(
                    rank -> () -> Rehearsal.of(config, setup, pipeline, rank, worldSize, device))
                .toList())) {
      for (int rank : shown) {
        List<Integer> layers = pipeline.layersOf(mesh.coordinate(rank, Axis.PIPELINE));
        ranks.add(new Rank(rank, layers, sequences(config, mesh, rank), rehearsals.next()));
      }
    }
    return new JobPlan(
        mesh, setup.config(), pipeline, config.batch().global() * setup.config().sequence(), ranks);
  }

  private static long sequences(JobConfig config, DeviceMesh mesh, int rank) {
    int experts = mesh.size(Axis.EXPERT);
    BatchPartition partition =
        new BatchPartition(
            config.batch().global(),
            mesh.size(Axis.DATA) * experts,
            mesh.coordinate(rank, Axis.DATA) * experts + mesh.coordinate(rank, Axis.EXPERT),
            Math.toIntExact(config.batch().micro()));
    return LongStream.range(0, partition.microBatches())
        .map(index -> Math.max(1, partition.samples(index)))
        .sum();
  }

  /** All ranks, or of many the first one of each place in the pipeline. */
  private static List<Integer> shown(DeviceMesh mesh) {
    return mesh.worldSize() <= MOST_RANKS
        ? IntStream.range(0, mesh.worldSize()).boxed().toList()
        : mesh.group(0, Axis.PIPELINE);
  }

  /** The model's sizes, some of which files may give. */
  static ModelSetup setup(JobConfig config, Path baseDirectory) throws IOException {
    boolean takesVocabularyFromData =
        config.transformer().vocab() == 0
            && !(config.transformer().init() instanceof JobConfig.Init.HuggingFace);
    return ModelSetup.of(
        config, baseDirectory, takesVocabularyFromData ? vocabulary(config, baseDirectory) : 0);
  }

  private static long vocabulary(JobConfig config, Path baseDirectory) {
    try (DataSetup data =
        DataSetup.open(config.data(), baseDirectory, DataPreparation.Progress.NONE)) {
      return data.vocabulary();
    }
  }

  /** Whether {@link #ranks} are not all. */
  public boolean isAbridged() {
    return ranks.size() < mesh.worldSize();
  }

  /**
   * Ranks that hold the same part of the model: they add up gradients, and share what is sharded.
   */
  public List<List<Integer>> gradientGroups() {
    return mesh.groups(RankGroups.ALIKE);
  }

  /** Micro-batches of one rank's step. */
  public int microBatches() {
    return pipeline.table().microBatches();
  }

  /**
   * The schedule's own idle time: the part of a step in which ranks compute nothing, where all
   * stages have as much work, a backward pass takes twice a forward pass and sending takes no time.
   */
  public double bubble() {
    return ScheduleSimulator.simulate(pipeline.table(), StageCosts.uniform(1, 1, 1, 0))
        .bubbleRate();
  }

  /** The same of this model's stages, as they are cut, of all ranks together. */
  public double idle() {
    return ScheduleSimulator.simulate(pipeline.table(), pipeline.costs(model)).idleRate();
  }

  /**
   * How long a step takes on a cluster.
   *
   * @param config of the same plan
   */
  public StepTime time(JobConfig config, Cluster cluster) {
    List<Integer> places = mesh.group(0, Axis.PIPELINE);
    return new PredictedTime(config, model, mesh)
        .on(
            cluster,
            pipeline,
            ranks.stream()
                .filter(rank -> places.contains(rank.number()))
                .map(Rank::rehearsal)
                .toList(),
            1);
  }

  /**
   * What the formulas of papers say of this plan in 16 bits.
   *
   * @param modelStateBytes of weights, gradients and Adam's state on a rank, where stages are equal
   * @param activationBytes of the layers of the first stage, for models that the formula is about:
   *     feed-forward layers of four times the width, as many heads for keys as for queries
   */
  public record Published(double modelStateBytes, OptionalDouble activationBytes) {}

  /**
   * By {@link PublishedMemory}.
   *
   * @param config of the same plan
   */
  public Published published(JobConfig config) {
    int shards = config.sharding().shardSize();
    return new Published(
        PublishedMemory.modelStateBytes(
            model.parametersOfRank(
                mesh.size(Axis.TENSOR), mesh.size(Axis.PIPELINE), mesh.size(Axis.EXPERT)),
            config.sharding().zero(),
            shards < 0 ? config.parallel().copies(mesh.worldSize()) : shards),
        isOfTheFormula()
            ? OptionalDouble.of(publishedActivations(config))
            : OptionalDouble.empty());
  }

  private boolean isOfTheFormula() {
    return model.family() == Family.GPT2
        && model.mixture().isEmpty()
        && mesh.size(Axis.CONTEXT) == 1
        && model.feedForward() == 4 * model.hidden()
        && model.keyValueHeads() == model.heads();
  }

  private double publishedActivations(JobConfig config) {
    int ranksOfPipeline = mesh.size(Axis.PIPELINE);
    double layersHeld = pipeline.table().peakMicroBatches(0) * model.layers() / ranksOfPipeline;
    return layersHeld
        * PublishedMemory.activationBytes(
            new PublishedMemory.Layer(
                model.sequence(), config.batch().micro(), model.hidden(), model.heads()),
            mesh.size(Axis.TENSOR),
            config.parallel().sequenceParallel(),
            switch (config.transformer().recompute()) {
              case NONE -> PublishedMemory.Recomputed.NOTHING;
              case SELECTIVE -> PublishedMemory.Recomputed.ATTENTION;
              case FULL -> PublishedMemory.Recomputed.LAYERS;
            });
  }

  /** What the rank that holds most has in its device's memory at once, at most. */
  public long peakBytes() {
    return ranks.stream().mapToLong(rank -> rank.rehearsal().peakBytes()).max().orElse(0);
  }

  /** What the rank that holds most there has in the host's, where devices have their own. */
  public long hostPeakBytes() {
    return ranks.stream().mapToLong(rank -> rank.rehearsal().hostPeakBytes()).max().orElse(0);
  }

  /** Whether the optimizer's state lies in another memory than the weights. */
  public boolean isOffloaded(JobConfig config) {
    return config.sharding().offload() == JobConfig.Offload.CPU && hostPeakBytes() > 0;
  }

  /** Floating-point operations that all ranks need for a step's sequences. */
  public double operationsPerStep() {
    double ofSequence =
        ranks.stream()
            .mapToDouble(rank -> rank.rehearsal().operations() / rank.sequences())
            .average()
            .orElseThrow();
    int shares = mesh.size(Axis.DATA) * mesh.size(Axis.EXPERT);
    double sequences = (double) tokensPerStep / model.sequence();
    return ofSequence * mesh.worldSize() / shares * sequences;
  }
}
