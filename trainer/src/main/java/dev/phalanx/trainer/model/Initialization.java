package dev.phalanx.trainer.model;

import dev.phalanx.tensor.CounterRandom;
import dev.phalanx.tensor.autograd.Parameter;

/**
 * The initial weights of a model: a rule by the parameter's name, and a seed by its number in the
 * model's order, so that any rank makes any slice alone.
 */
public sealed interface Initialization {
  /** The rule for a parameter of this name, such as {@code h.0.qkv.weight}. */
  Parameter.Initializer of(String name);

  /** The seed of the whole model. */
  long seed();

  /** The seed of parameter number {@code number}. */
  default long seed(int number) {
    return CounterRandom.at(seed(), number);
  }

  /**
   * Gains 1, biases 0, weights from a normal distribution, narrower by sqrt(2 layers) where a layer
   * writes to the residual stream (Radford et al., 2019).
   */
  record Normal(long seed, double standardDeviation, int layers) implements Initialization {
    @Override
    public Parameter.Initializer of(String name) {
      if (name.endsWith(".bias")) {
        return (seed, element) -> 0;
      }
      if (isNormGain(name)) {
        return (seed, element) -> 1;
      }
      boolean isResidual = name.endsWith("proj.weight") || name.endsWith("out.weight");
      double deviation =
          isResidual ? standardDeviation / Math.sqrt(2.0 * layers) : standardDeviation;
      return (seed, element) -> deviation * CounterRandom.normal(seed, element);
    }
  }

  /**
   * {@code c + a (2 unit - 1)} with c and a by name: weights given by formulas, the same in every
   * implementation.
   */
  record Reference(long seed) implements Initialization {
    @Override
    public Parameter.Initializer of(String name) {
      double center = isNormGain(name) ? 1 : 0;
      double amplitude = amplitude(name);
      return (seed, element) ->
          center + amplitude * (2.0 * CounterRandom.unit(seed, element) - 1.0);
    }

    private static double amplitude(String name) {
      String part = name.substring(name.lastIndexOf('.', name.lastIndexOf('.') - 1) + 1);
      return switch (part) {
        case "wte", "wpe", "head.weight" -> 0.05;
        case "qkv.weight", "fc.weight" -> 0.125;
        case "proj.weight" -> 0.0625;
        case "out.weight" -> 0.03125;
        case "qkv.bias", "proj.bias", "fc.bias", "out.bias" -> 0.02;
        default -> 0.1;
      };
    }
  }

  /** Zeros: the weights are read from a file afterwards. */
  record Empty() implements Initialization {
    @Override
    public Parameter.Initializer of(String name) {
      return (seed, element) -> 0;
    }

    @Override
    public long seed() {
      return 0;
    }
  }

  private static boolean isNormGain(String name) {
    return name.endsWith("ln1.weight")
        || name.endsWith("ln2.weight")
        || name.endsWith("lnf.weight");
  }
}
