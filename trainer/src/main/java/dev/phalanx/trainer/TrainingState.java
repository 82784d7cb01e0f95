package dev.phalanx.trainer;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.sharding.AdamWOptimizer;
import dev.phalanx.sharding.FlatOptimizer;
import dev.phalanx.sharding.FlatParameters;
import dev.phalanx.sharding.SgdOptimizer;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Storage;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.trainer.config.JobConfig;
import dev.phalanx.trainer.model.Transformer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Everything that training changes: the model's flat memory and the optimizer's state. The arena
 * owns the memory.
 */
final class TrainingState {
  private final Transformer model;
  private final FlatParameters flat;
  private final FlatOptimizer optimizer;
  private final List<Named> parameters;
  private final List<Named> optimizerState = new ArrayList<>();

  /**
   * All ranks make theirs together.
   *
   * @param dataGroup whose ranks reduce gradients together
   */
  TrainingState(Arena arena, Communicator dataGroup, ModelSetup setup, JobConfig job)
      throws IOException, InterruptedException {
    this.model = setup.model();
    Tensor gradients =
        gradientMemory(arena, dataGroup, FlatParameters.elementCount(model.parameters()));
    this.flat =
        new FlatParameters(arena, model.parameters(), computeType(job.precision()), gradients);
    if (setup.weights().isPresent()) {
      setup.weights().get().load(flat, arena.engine());
    } else {
      Map<Parameter, Integer> numbers = new IdentityHashMap<>();
      model.parameters().forEach(parameter -> numbers.put(parameter, numbers.size()));
      flat.initialize(parameter -> setup.initialization().seed(numbers.getOrDefault(parameter, 0)));
    }
    model.prepare(arena);
    this.optimizer = optimizer(arena, flat, job.optimizer());
    this.parameters = slices(flat.master(), "");
    optimizer.state().forEach((kind, tensor) -> optimizerState.addAll(slices(tensor, kind + ".")));
  }

  /** Memory that all ranks of a host read, where there is such memory. */
  private static Tensor gradientMemory(Arena arena, Communicator dataGroup, long elements)
      throws InterruptedException {
    if (arena.device().isCpu()) {
      Optional<Storage> shared =
          dataGroup.allocateShared(DType.FLOAT32.bytes(elements), arena.engine()::wrap);
      if (shared.isPresent()) {
        return Tensor.over(shared.get(), 0, DType.FLOAT32, Shape.of(elements));
      }
    }
    return arena.allocate(DType.FLOAT32, elements);
  }

  static DType computeType(JobConfig.Precision precision) {
    return precision == JobConfig.Precision.BF16 ? DType.BFLOAT16 : DType.FLOAT32;
  }

  private static FlatOptimizer optimizer(
      Arena arena, FlatParameters flat, JobConfig.Optimizer settings) {
    if (settings.algorithm() instanceof JobConfig.Optimizer.AdamW adamW) {
      return new AdamWOptimizer(
          arena, flat, adamW.beta1(), adamW.beta2(), adamW.epsilon(), settings.weightDecay());
    }
    if (settings.algorithm() instanceof JobConfig.Optimizer.Sgd sgd) {
      return new SgdOptimizer(arena, flat, sgd.momentum(), sgd.nesterov(), settings.weightDecay());
    }
    throw new IllegalArgumentException(
        "optimizer.kind is not available in this version: " + settings.algorithm());
  }

  Transformer model() {
    return model;
  }

  FlatParameters flat() {
    return flat;
  }

  FlatOptimizer optimizer() {
    return optimizer;
  }

  /** Bytes of the values that the computation reads. */
  long parameterBytes() {
    return flat.values().byteSize();
  }

  long gradientBytes() {
    return flat.gradients().byteSize();
  }

  /**
   * Bytes of the optimizer's state, the master values among it where they are a copy of their own.
   */
  long optimizerBytes() {
    long state = optimizer.state().values().stream().mapToLong(Tensor::byteSize).sum();
    return flat.master() == flat.values() ? state : state + flat.master().byteSize();
  }

  /** A named piece of the state. */
  record Named(String name, Tensor tensor) {}

  /** The fp32 parameters by name, as views. */
  List<Named> parameters() {
    return parameters;
  }

  /** The optimizer's state by {@code KIND.PARAMETER}, as views. */
  List<Named> optimizerState() {
    return optimizerState;
  }

  private List<Named> slices(Tensor whole, String prefix) {
    List<Named> named = new ArrayList<>();
    for (Parameter parameter : model.parameters()) {
      named.add(new Named(prefix + parameter.name(), flat.slice(whole, parameter)));
    }
    return named;
  }
}
