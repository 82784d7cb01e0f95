package dev.phalanx.trainer;

import dev.phalanx.parallelism.mesh.Axis;
import dev.phalanx.parallelism.tensor.TensorGroup;
import dev.phalanx.sharding.AdamWOptimizer;
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
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.model.Transformer;
import java.io.IOException;
import java.util.List;

/**
 * Everything that training changes: what this rank holds of the model and of the optimizer's state.
 * The arena owns the memory.
 */
final class TrainingState {
  private final ModelSetup setup;
  private final TensorGroup tensorGroup;
  private final Transformer model;
  private final ModelMemory memory;
  private final FlatOptimizer optimizer;
  private final LossScaler lossScaler;

  /** All ranks make theirs together. */
  TrainingState(Arenas arenas, RankGroups groups, ModelSetup setup, JobConfig job)
      throws InterruptedException {
    requireSupport(arenas.engine(), job.precision());
    this.setup = setup;
    this.tensorGroup =
        groups
            .along(Axis.TENSOR)
            .map(ranks -> TensorGroup.of(ranks, arenas.host(), job.parallel().sequenceParallel()))
            .orElseGet(TensorGroup::single);
    this.model = setup.model(tensorGroup);
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
                computeType(job.precision()),
                job.communication().bucketBytes(),
                job.communication().overlap(),
                job.sharding().reshardAfterForward(),
                groups.copies(),
                GradientCompression.of(
                    job.communication().compression(), job.optimizer().algorithm())),
            model.parameterGroups());
    model.prepare(arenas.state());
    this.optimizer = optimizer(stateArena, arenas.host(), model, memory, job.optimizer());
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

  private static FlatOptimizer optimizer(
      Arena arena,
      Arena host,
      Transformer model,
      ModelMemory memory,
      JobConfig.Optimizer settings) {
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
          model::hiddenMatrices,
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

  /** For checkpoints: what the ranks that divide the model hold of it. */
  ModelParts parts(RankGroups groups, Arena host) {
    return new ModelParts(
        groups,
        host,
        model.parameters(),
        rank ->
            setup.model(tensorGroup.as(groups.coordinateInModel(rank, Axis.TENSOR))).parameters());
  }

  Transformer model() {
    return model;
  }

  ModelMemory memory() {
    return memory;
  }

  FlatOptimizer optimizer() {
    return optimizer;
  }

  LossScaler lossScaler() {
    return lossScaler;
  }

  /** Time that the training thread has waited for other ranks since the start. */
  long exposedNanos() {
    return memory.exposedNanos() + tensorGroup.exposedNanos();
  }

  /**
   * Bytes of the optimizer's state, the master values among it where they are a copy of their own.
   */
  long optimizerBytes() {
    return memory.masterBytes()
        + optimizer.state().values().stream().mapToLong(Tensor::byteSize).sum();
  }
}
