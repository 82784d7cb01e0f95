package dev.phalanx.trainer;

import dev.phalanx.parallelism.context.ContextGroup;
import dev.phalanx.parallelism.expert.ExpertGroup;
import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.pipeline.PipelineExecutor;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.sharding.AdamWOptimizer;
import dev.phalanx.sharding.Division;
import dev.phalanx.sharding.FlatOptimizer;
import dev.phalanx.sharding.LambOptimizer;
import dev.phalanx.sharding.ModelMemory;
import dev.phalanx.sharding.MuonOptimizer;
import dev.phalanx.sharding.SgdOptimizer;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.EngineNotFoundException;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.model.ModelRanks;
import dev.phalanx.trainer.model.Transformer;
import dev.phalanx.trainer.model.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * Everything that training changes: what this rank holds of the model and of the optimizer's state.
 * The arena owns the memory.
 */
final class TrainingState {
  private final ModelSetup setup;
  private final ModelRanks ranks;
  private final ContextGroup contextGroup;
  private final PipelinePlan pipelinePlan;
  private final PipelineExecutor pipeline;
  private final List<Integer> stages; // of this rank
  private final List<Transformer> models; // of these stages
  private final ModelMemory memory;
  private final FlatOptimizer optimizer;
  private final LossScaler lossScaler;
  private final DType dtype; // of what passes compute

  /** All ranks make theirs together. */
  TrainingState(Arenas arenas, RankGroups groups, ModelSetup setup, JobConfig job)
      throws InterruptedException {
    requireSupport(arenas.engine(), job.precision());
    this.setup = setup;
    this.dtype = computeType(job.precision());
    this.contextGroup =
        groups
            .along(Axis.CONTEXT)
            .map(ranks -> ContextGroup.of(ranks, arenas.host()))
            .orElseGet(ContextGroup::single);
    this.pipelinePlan = groups.pipeline();
    this.pipeline =
        new PipelineExecutor(
            pipelinePlan.table(),
            groups.coordinate(Axis.PIPELINE),
            arenas.host(),
            groups.channels());
    this.stages = pipelinePlan.stagesOf(groups.coordinate(Axis.PIPELINE));
    this.ranks =
        new ModelRanks(
            groups
                .along(Axis.TENSOR)
                .map(
                    tensor ->
                        TensorGroup.of(tensor, arenas.host(), job.parallel().sequenceParallel()))
                .orElseGet(TensorGroup::single),
            groups
                .along(Axis.EXPERT)
                .map(experts -> ExpertGroup.of(experts, arenas.host()))
                .orElseGet(ExpertGroup::single));
    this.models = models(ranks, groups.coordinate(Axis.PIPELINE));
    Arena stateArena =
        job.sharding().offload() == JobConfig.Offload.CPU ? arenas.host() : arenas.state();
    this.memory =
        new ModelMemory(
            new ModelMemory.Setup(
                job.sharding().zero(),
                groups.shards().groups(),
                arenas.state(),
                arenas.device().isCpu() ? arenas.state() : stateArena,
                arenas.host(),
                dtype,
                job.communication().bucketBytes(),
                job.communication().overlap(),
                job.sharding().reshardAfterForward(),
                groups.copies(),
                division(groups),
                GradientCompression.of(
                    job.communication().compression(), job.optimizer().algorithm())),
            models.stream().map(Transformer::parameterGroups).toList());
    models.forEach(model -> model.prepare(arenas.state(), contextGroup));
    this.optimizer = optimizer(stateArena, arenas.host(), job.optimizer());
    this.lossScaler = LossScaler.of(job.lossScaling(), arenas.host());
  }

  /** Sets the model's first values, by formulas or from a directory of weights. */
  void initialize(ModelSetup setup, Engine engine) throws IOException {
    if (setup.weights().isPresent()) {
      setup.weights().get().load(memory::load, engine);
    } else {
      List<String> names = Transformer.parameterNames(setup.config());
      memory.initialize(parameter -> setup.initialization().seed(names.indexOf(parameter.name())));
    }
  }

  private static void requireSupport(Engine engine, JobConfig.Precision precision) {
    if (!engine.supports(computeType(precision))) {
      throw new EngineNotFoundException(
          "The plan wants 'precision: "
              + precision.label()
              + "', which "
              + engine.description()
              + " does not compute in. Write 'precision: fp32', or take another engine.");
    }
  }

  static DType computeType(JobConfig.Precision precision) {
    return switch (precision) {
      case FP32 -> DType.FLOAT32;
      case BF16 -> DType.BFLOAT16;
      case FP16 -> DType.FLOAT16;
    };
  }

  private FlatOptimizer optimizer(Arena arena, Arena host, JobConfig.Optimizer settings) {
    if (settings.algorithm() instanceof JobConfig.Optimizer.AdamW adamW) {
      return new AdamWOptimizer(
          arena,
          memory,
          adamW.beta1(),
          adamW.beta2(),
          adamW.epsilon(),
          settings.weightDecay(),
          GradientCompression.varianceSteps(memory.compression()));
    }
    if (settings.algorithm() instanceof JobConfig.Optimizer.Sgd sgd) {
      return new SgdOptimizer(
          arena, memory, sgd.momentum(), sgd.nesterov(), settings.weightDecay());
    }
    if (settings.algorithm() instanceof JobConfig.Optimizer.Lamb lamb) {
      return new LambOptimizer(
          arena, host, memory, lamb.beta1(), lamb.beta2(), lamb.epsilon(), settings.weightDecay());
    }
    if (settings.algorithm() instanceof JobConfig.Optimizer.Muon muon) {
      return new MuonOptimizer(
          arena,
          host,
          memory,
          this::hiddenMatrices,
          new MuonOptimizer.Settings(
              muon.momentum(),
              muon.nesterov(),
              muon.newtonSchulzSteps(),
              settings.weightDecay(),
              muon.adamWLearningRate() / settings.learningRate(),
              muon.beta1(),
              muon.beta2(),
              muon.epsilon()));
    }
    throw new IllegalArgumentException(
        "optimizer.kind is not available in this version: " + settings.algorithm());
  }

  /** See {@link Transformer#hiddenMatrices}. */
  private List<Long> hiddenMatrices(Parameter parameter) {
    return models.stream()
        .map(model -> model.hiddenMatrices(parameter))
        .filter(rows -> !rows.isEmpty())
        .findFirst()
        .orElse(List.of());
  }

  /** What a rank holds of the model, by its place in the pipeline. */
  private List<Transformer> models(ModelRanks ofLayers, int pipelineRank) {
    return pipelinePlan.stagesOf(pipelineRank).stream()
        .map(stage -> setup.model(ofLayers, pipelinePlan.stages().get(stage)))
        .toList();
  }

  /** For optimizers that look at whole parameters. */
  private Optional<Division> division(RankGroups groups) {
    int stage = groups.coordinate(Axis.PIPELINE);
    return groups
        .holders()
        .map(
            holders ->
                new Division(
                    holders,
                    parameters(models),
                    groups.dividingEach().stream()
                        .map(
                            rank ->
                                ranks.as(
                                    groups.mesh().coordinate(rank, Axis.TENSOR),
                                    groups.mesh().coordinate(rank, Axis.EXPERT)))
                        .map(part -> parameters(models(part, stage)))
                        .toList()));
  }

  /** For checkpoints: what the ranks that divide the model hold of it. */
  ModelParts parts(RankGroups groups, Arena host) {
    return new ModelParts(
        groups,
        host,
        parameters(models),
        rank ->
            parameters(
                models(
                    ranks.as(
                        groups.coordinateInModel(rank, Axis.TENSOR),
                        groups.coordinateInModel(rank, Axis.EXPERT)),
                    groups.coordinateInModel(rank, Axis.PIPELINE))));
  }

  private static List<Parameter> parameters(List<Transformer> models) {
    return models.stream().flatMap(model -> model.parameters().stream()).toList();
  }

  /** Runs passes through the stages, of which this rank has some. */
  PipelineExecutor pipeline() {
    return pipeline;
  }

  /** The stages of this rank, in ascending order. */
  List<Integer> stages() {
    return stages;
  }

  /** The ranks that divide each matrix with this one. */
  TensorGroup tensorGroup() {
    return ranks.tensor();
  }

  /** The ranks that divide each sequence with this one. */
  ContextGroup contextGroup() {
    return contextGroup;
  }

  /** The type that passes compute in. */
  DType dtype() {
    return dtype;
  }

  TransformerConfig modelConfig() {
    return setup.config();
  }

  /** The parts of the model that are here, which passes go through one at a time. */
  List<Transformer> models() {
    return models;
  }

  /** Which of {@link #models} a stage of the pipeline is. */
  int partOf(int stage) {
    return stages.indexOf(stage);
  }

  ModelMemory memory() {
    return memory;
  }

  /** Whether a forward pass needs others to have one too, whatever their tokens. */
  boolean isForwardCollective() {
    return memory.isForwardCollective() || !ranks.expert().isSingle();
  }

  FlatOptimizer optimizer() {
    return optimizer;
  }

  LossScaler lossScaler() {
    return lossScaler;
  }

  /** Time that the training thread has waited for other ranks since the start. */
  long exposedNanos() {
    return memory.exposedNanos()
        + ranks.tensor().exposedNanos()
        + ranks.expert().exposedNanos()
        + contextGroup.exposedNanos()
        + pipeline.exposedNanos();
  }

  /**
   * Bytes of the optimizer's state, the master values among it where they are a copy of their own.
   */
  long optimizerBytes() {
    return memory.masterBytes()
        + optimizer.state().values().stream().mapToLong(Tensor::byteSize).sum();
  }
}
