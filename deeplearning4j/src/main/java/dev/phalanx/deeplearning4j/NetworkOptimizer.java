package dev.phalanx.deeplearning4j;

import dev.phalanx.sharding.AdamWOptimizer;
import dev.phalanx.sharding.FlatOptimizer;
import dev.phalanx.sharding.LambOptimizer;
import dev.phalanx.sharding.SgdOptimizer;
import dev.phalanx.sharding.UpdatedValues;
import dev.phalanx.tensor.Arena;
import java.util.function.IntToDoubleFunction;

/**
 * One of our optimizers in the place of a network's own updater. Weight decay is the optimizer's,
 * on parameters of two or more dimensions that are more than one long; the network's configuration
 * has no regularisation and no normalisation of gradients.
 *
 * @param kind as checkpoints name it
 * @param factory makes the optimizer of one rank
 * @param learningRate of an iteration, from 0
 * @param isSharded ZeRO's stage 1: each rank updates a part of the parameters and keeps the
 *     optimizer's state of that part alone
 */
public record NetworkOptimizer(
    String kind, Factory factory, IntToDoubleFunction learningRate, boolean isSharded) {

  /** Makes an optimizer of what a rank updates. */
  @FunctionalInterface
  public interface Factory {
    /**
     * @param arena on the CPU; it owns the optimizer's state
     */
    FlatOptimizer of(Arena arena, UpdatedValues values);
  }

  /** AdamW (Loshchilov and Hutter, 2019). */
  public static NetworkOptimizer adamW(
      IntToDoubleFunction learningRate,
      double beta1,
      double beta2,
      double epsilon,
      double weightDecay) {
    return new NetworkOptimizer(
        "adamw",
        (arena, values) -> new AdamWOptimizer(arena, values, beta1, beta2, epsilon, weightDecay),
        learningRate,
        false);
  }

  /** Stochastic gradient descent, with Nesterov's momentum where there is any. */
  public static NetworkOptimizer sgd(
      IntToDoubleFunction learningRate, double momentum, double weightDecay) {
    return sgd(learningRate, momentum, momentum > 0, weightDecay);
  }

  /** {@link #sgd(IntToDoubleFunction, double, double)} with the classical momentum, or none. */
  public static NetworkOptimizer sgd(
      IntToDoubleFunction learningRate, double momentum, boolean isNesterov, double weightDecay) {
    return new NetworkOptimizer(
        "sgd",
        (arena, values) -> new SgdOptimizer(arena, values, momentum, isNesterov, weightDecay),
        learningRate,
        false);
  }

  /** LAMB (You et al., 2020), for large batches. */
  public static NetworkOptimizer lamb(
      IntToDoubleFunction learningRate,
      double beta1,
      double beta2,
      double epsilon,
      double weightDecay) {
    return new NetworkOptimizer(
        "lamb",
        (arena, values) ->
            new LambOptimizer(arena, arena, values, beta1, beta2, epsilon, weightDecay),
        learningRate,
        false);
  }

  /** The same with ZeRO's stage 1. */
  public NetworkOptimizer sharded() {
    return new NetworkOptimizer(kind, factory, learningRate, true);
  }
}
