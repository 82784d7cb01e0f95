package dev.phalanx.trainer;

import dev.phalanx.parallelism.expert.Mixture;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.mesh.DeviceMesh;
import dev.phalanx.parallelism.plan.Cluster;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.model.TransformerConfig;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * What a layout takes at least, by formulas: no rehearsal of it shows less memory, nor less time.
 * Layouts are those that a search looks at, without {@code shard_size}.
 */
final class LayoutBounds {
  private final TransformerConfig model;
  private final Cluster cluster;
  private final int worldSize;

  LayoutBounds(TransformerConfig model, Cluster cluster, int worldSize) {
    this.model = model;
    this.cluster = cluster;
    this.worldSize = worldSize;
  }

  // ------------------------------------------------------------------------------------- memory

  /** Bytes that the rank that holds most has between steps. */
  double stateBytes(JobConfig config) {
    return elements(config) * bytesPerParameter(config);
  }

  /** Bytes that the rank that holds most has at once. */
  double peakBytes(JobConfig config, PipelinePlan pipeline) {
    return IntStream.range(0, config.parallel().pipeline())
        .mapToDouble(place -> peakBytes(config, pipeline, place))
        .reduce(stateBytes(config), Math::max);
  }

  private double peakBytes(JobConfig config, PipelinePlan pipeline, int place) {
    JobConfig.Parallel parallel = config.parallel();
    double parameters =
        model.parametersOfLayers(
            pipeline.layersOf(place).size(), parallel.tensor(), parallel.expert());
    return parameters * bytesPerParameter(config)
        + layersHeld(pipeline, place) * activationBytes(config);
  }

  /** Of all micro-batches together. */
  private static double layersHeld(PipelinePlan pipeline, int place) {
    int fewestOfAStage =
        pipeline.stagesOf(place).stream()
            .mapToInt(stage -> pipeline.stages().get(stage).count())
            .min()
            .orElse(0);
    int stages = pipeline.stagesOf(place).size();
    return pipeline.table().peakMicroBatches(place) * stages * fewestOfAStage;
  }

  private double elements(JobConfig config) {
    JobConfig.Parallel parallel = config.parallel();
    return model.parametersOfRank(parallel.tensor(), parallel.pipeline(), parallel.expert());
  }

  /** Of weights, gradients and optimizer state, if shards were perfectly even. */
  private double bytesPerParameter(JobConfig config) {
    int zero = config.sharding().zero();
    double copies = copies(config);
    boolean hasMoments = config.optimizer().algorithm() instanceof JobConfig.Optimizer.AdamW;
    int optimizer =
        (hasMoments ? 2 * Float.BYTES : 0) + (width(config) < Float.BYTES ? Float.BYTES : 0);
    return width(config) / (zero == 3 ? copies : 1)
        + Float.BYTES / (zero >= 2 ? copies : 1)
        + optimizer / (zero >= 1 ? copies : 1);
  }

  /**
   * What the backward pass needs of a micro-batch in one layer: what its matrices are multiplied
   * with, queries, keys and values, and what activations were computed from.
   */
  private double activationBytes(JobConfig config) {
    JobConfig.Parallel parallel = config.parallel();
    double tokens = (double) config.batch().micro() * model.sequence() / parallel.context();
    double feedForward =
        model.hidden() + (double) perToken() * (model.isGated() ? 3 : 2) * model.feedForward();
    double attention =
        2.0 * model.hidden() + (model.heads() + 2.0 * model.keyValueHeads()) * model.headSize();
    boolean isRecomputed = config.transformer().recompute() != JobConfig.Recompute.NONE;
    double kept = isRecomputed ? model.hidden() : attention + feedForward;
    return tokens * kept * width(config) / parallel.tensor();
  }

  // --------------------------------------------------------------------------------------- time

  /**
   * Seconds of a step: operations at full rate, the pipeline's idle time, half of what divided
   * matrices send, and what of the data-parallel communication is longer than the passes that it
   * goes on under.
   */
  double seconds(JobConfig config) {
    double passes = passesSeconds(config);
    double microBatches = config.microBatchesPerStep(worldSize);
    JobConfig.Parallel parallel = config.parallel();
    double idle = passes * (parallel.pipeline() - 1) / microBatches * idleShare(parallel);
    double hiding = config.sharding().zero() >= 2 ? passes : passes / microBatches;
    double summing = summedBytes(config) / bytesPerSecond(config, RankGroups.ALIKE);
    return passes + idle + Math.max(0, summing - hiding);
  }

  /** All micro-batches of a rank, without a pause. */
  private double passesSeconds(JobConfig config) {
    double operations = model.flopsPerToken() * config.batch().global() * model.sequence();
    boolean isRecomputed = config.transformer().recompute() == JobConfig.Recompute.FULL;
    return operations * (isRecomputed ? 4 / 3.0 : 1) / worldSize / cluster.operationsPerSecond()
        + dividedBytes(config) / bytesPerSecond(config, Set.of(Axis.TENSOR))
        + exchangedBytes(config) / bytesPerSecond(config, Set.of(Axis.EXPERT));
  }

  /** Half of what ranks that divide matrices send each other, in all layers of a rank. */
  private double dividedBytes(JobConfig config) {
    int tensor = config.parallel().tensor();
    return 4.0 * activations(config) * (tensor - 1) / tensor;
  }

  /** Of tokens on their way to experts and back, forward and backward. */
  private double exchangedBytes(JobConfig config) {
    int expert = config.parallel().expert();
    return 4.0 * activations(config) * perToken() * (expert - 1) / expert;
  }

  /** Bytes of the rank's tokens between its layers, once for each of these. */
  private double activations(JobConfig config) {
    JobConfig.Parallel parallel = config.parallel();
    return (double) config.batch().global()
        / parallel.dataSize(worldSize)
        * model.sequence()
        / parallel.context()
        * model.hidden()
        * width(config)
        * model.layers()
        / parallel.pipeline();
  }

  /**
   * What a rank sends to sum gradients and to gather parameters (Rajbhandari et al., 2020, "ZeRO",
   * section 7). What stage 3 gathers in each pass depends on what it has released since the last.
   */
  private double summedBytes(JobConfig config) {
    double microBatches = config.microBatchesPerStep(worldSize);
    double times = config.sharding().zero() >= 2 ? 1 + microBatches : 2;
    double copies = copies(config);
    return times * elements(config) * width(config) * (copies - 1) / copies;
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

  private double bytesPerSecond(JobConfig config, Set<Axis> axes) {
    DeviceMesh mesh = config.parallel().mesh(worldSize);
    return cluster.between(mesh.groups(axes)).bytesPerSecond();
  }

  private int copies(JobConfig config) {
    return config.parallel().copies(worldSize);
  }

  private int perToken() {
    return model.mixture().map(Mixture::perToken).orElse(1);
  }

  private static int width(JobConfig config) {
    return TrainingState.computeType(config.precision()).byteSize();
  }
}
