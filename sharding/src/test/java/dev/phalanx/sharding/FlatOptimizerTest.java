package dev.phalanx.sharding;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.jspecify.annotations.Nullable;

/**
 * Optimizers over flat memory against their definitions in double precision: each element decays or
 * not as its own parameter says, wherever the segments lie.
 */
final class FlatOptimizerTest {
  private static final int STEPS = 4;
  private static final double LEARNING_RATE = 0.01;
  private static final double SCALE = 0.5;
  private static final double DECAY = 0.1;

  /** The update of one element, with a state of its own. */
  private abstract static class Reference {
    final boolean isDecayed;
    double value;

    Reference(boolean isDecayed, double value) {
      this.isDecayed = isDecayed;
      this.value = value;
    }

    abstract void step(long step, double gradient);

    double decay() {
      return isDecayed ? DECAY : 0;
    }
  }

  private static final class AdamWReference extends Reference {
    private double first;
    private double second;

    AdamWReference(boolean isDecayed, double value) {
      super(isDecayed, value);
    }

    @Override
    void step(long step, double gradient) {
      first += 0.1 * (gradient - first);
      second = 0.95 * second + 0.05 * gradient * gradient;
      double firstHat = first / (1 - Math.pow(0.9, step));
      double secondHat = second / (1 - Math.pow(0.95, step));
      value -= LEARNING_RATE * decay() * value;
      value -= LEARNING_RATE * firstHat / (Math.sqrt(secondHat) + 1e-8);
    }
  }

  private static final class SgdReference extends Reference {
    private final double momentum;
    private final boolean nesterov;
    private double velocity;

    SgdReference(boolean isDecayed, double value, double momentum, boolean nesterov) {
      super(isDecayed, value);
      this.momentum = momentum;
      this.nesterov = nesterov;
    }

    @Override
    void step(long step, double gradient) {
      double decayed = gradient + decay() * value;
      velocity = momentum * velocity + decayed;
      value -= LEARNING_RATE * (nesterov ? decayed + momentum * velocity : velocity);
    }
  }

  private interface ReferenceOf {
    Reference of(boolean isDecayed, double value);
  }

  @Provide
  Arbitrary<List<Shape>> models() {
    return ModelShapes.arbitrary();
  }

  @Property(tries = 40)
  void adamWFollowsItsDefinition(@ForAll("models") List<Shape> shapes, @ForAll long seed) {
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes)) {
      follow(
          model,
          new AdamWOptimizer(model.arena(), model.flat(), 0.9, 0.95, 1e-8, DECAY),
          AdamWReference::new,
          new Random(seed));
    }
  }

  @Property(tries = 40)
  void sgdFollowsItsDefinition(
      @ForAll("models") List<Shape> shapes,
      @ForAll boolean hasMomentum,
      @ForAll boolean nesterov,
      @ForAll long seed) {
    double momentum = hasMomentum ? 0.9 : 0;
    boolean isNesterov = hasMomentum && nesterov;
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes)) {
      follow(
          model,
          new SgdOptimizer(model.arena(), model.flat(), momentum, isNesterov, DECAY),
          (isDecayed, value) -> new SgdReference(isDecayed, value, momentum, isNesterov),
          new Random(seed));
    }
  }

  private static void follow(
      FlatModel model, FlatOptimizer optimizer, ReferenceOf references, Random random) {
    FlatParameters flat = model.flat();
    FlatModel.write(flat.master(), i -> random.nextGaussian());
    double[] start = FlatModel.read(flat.master());
    Reference[] expected = new Reference[start.length];
    model
        .parameters()
        .forEach(
            parameter -> {
              int offset = Math.toIntExact(flat.offset(parameter));
              for (int i = 0; i < parameter.shape().elementCount(); i++) {
                expected[offset + i] =
                    references.of(parameter.shape().rank() >= 2, start[offset + i]);
              }
            });

    for (long step = 1; step <= STEPS; step++) {
      FlatModel.write(flat.gradients(), i -> random.nextGaussian());
      double[] gradients = FlatModel.read(flat.gradients());
      optimizer.step(step, LEARNING_RATE, SCALE);
      for (int i = 0; i < expected.length; i++) {
        expected[i].step(step, SCALE * gradients[i]);
      }
      assertThat(FlatModel.read(flat.gradients())).isEqualTo(gradients);
    }

    double[] found = FlatModel.read(flat.values());
    for (int i = 0; i < expected.length; i++) {
      assertThat(found[i]).as("element %d", i).isCloseTo(expected[i].value, within(1e-5));
    }
  }

  /** One parameter by LAMB, all of its elements together. */
  private static final class LambReference {
    private final boolean isDecayed;
    private final double[] values;
    private final double[] first;
    private final double[] second;

    LambReference(boolean isDecayed, double[] values) {
      this.isDecayed = isDecayed;
      this.values = values;
      this.first = new double[values.length];
      this.second = new double[values.length];
    }

    void step(long step, double[] gradients) {
      double[] update = new double[values.length];
      for (int i = 0; i < values.length; i++) {
        double gradient = SCALE * gradients[i];
        first[i] = 0.9 * first[i] + 0.1 * gradient;
        second[i] = 0.95 * second[i] + 0.05 * gradient * gradient;
        double firstHat = first[i] / (1 - Math.pow(0.9, step));
        double secondHat = second[i] / (1 - Math.pow(0.95, step));
        update[i] = firstHat / (Math.sqrt(secondHat) + 1e-8) + (isDecayed ? DECAY * values[i] : 0);
      }
      double norm = norm(values);
      double updateNorm = norm(update);
      double ratio = norm > 0 && updateNorm > 0 ? norm / updateNorm : 1;
      for (int i = 0; i < values.length; i++) {
        values[i] -= LEARNING_RATE * ratio * update[i];
      }
    }

    private static double norm(double[] numbers) {
      return Math.sqrt(Arrays.stream(numbers).map(number -> number * number).sum());
    }
  }

  /** The second parameter begins as noughts, as biases do: its ratio is then 1. */
  @Property(tries = 12)
  void lambFollowsItsDefinition(@ForAll("models") List<Shape> shapes, @ForAll long seed) {
    Random random = new Random(seed);
    try (FlatModel model = new FlatModel(DType.FLOAT32, shapes)) {
      FlatParameters flat = model.flat();
      FlatModel.write(flat.master(), i -> random.nextGaussian());
      if (shapes.size() > 1) {
        FlatModel.write(flat.slice(flat.master(), model.parameters().get(1)), i -> 0);
      }
      Map<Parameter, LambReference> expected = new LinkedHashMap<>();
      for (Parameter parameter : model.parameters()) {
        expected.put(
            parameter,
            new LambReference(
                parameter.shape().rank() >= 2,
                FlatModel.read(flat.slice(flat.master(), parameter))));
      }
      LambOptimizer optimizer =
          new LambOptimizer(model.arena(), model.arena(), flat, 0.9, 0.95, 1e-8, DECAY);

      for (long step = 1; step <= STEPS; step++) {
        FlatModel.write(flat.gradients(), i -> random.nextGaussian());
        for (Map.Entry<Parameter, LambReference> one : expected.entrySet()) {
          one.getValue().step(step, FlatModel.read(flat.slice(flat.gradients(), one.getKey())));
        }
        optimizer.step(step, LEARNING_RATE, SCALE);
      }

      expected.forEach(
          (parameter, reference) ->
              assertThat(FlatModel.read(flat.slice(flat.values(), parameter)))
                  .as("parameter %s", parameter)
                  .containsExactly(reference.values, within(1e-5)));
    }
  }

  @Example
  void lambTakesALargeParameterByChunks() {
    Shape large = Shape.of(3, 100_000);
    try (FlatModel model = FlatModel.of(large)) {
      FlatParameters flat = model.flat();
      Random random = new Random(7);
      FlatModel.write(flat.master(), i -> random.nextGaussian());
      FlatModel.write(flat.gradients(), i -> random.nextGaussian());
      LambReference expected = new LambReference(true, FlatModel.read(flat.master()));
      expected.step(1, FlatModel.read(flat.gradients()));

      new LambOptimizer(model.arena(), model.arena(), flat, 0.9, 0.95, 1e-8, DECAY)
          .step(1, LEARNING_RATE, SCALE);

      assertThat(FlatModel.read(flat.master())).containsExactly(expected.values, within(1e-5));
    }
  }

  @Example
  void bf16ValuesFollowTheMasterValuesAfterAStep() {
    try (FlatModel model = new FlatModel(DType.BFLOAT16, List.of(Shape.of(2, 2), Shape.of(3)))) {
      FlatParameters flat = model.flat();
      FlatModel.write(flat.master(), i -> 1);
      FlatModel.write(flat.gradients(), i -> 1);

      new SgdOptimizer(model.arena(), flat, 0, false, 0).step(1, 0.5, 1);
      assertThat(FlatModel.read(flat.values())).containsOnly(0.5);
      new AdamWOptimizer(model.arena(), flat, 0.9, 0.95, 1e-8, 0).step(1, 0.25, 1);
      assertThat(FlatModel.read(flat.values())).containsOnly(0.25);
    }
  }

  @Example
  void stepsTooSmallForBf16AddUpInTheMasterValues() {
    try (FlatModel model = new FlatModel(DType.BFLOAT16, List.of(Shape.of(1)))) {
      FlatParameters flat = model.flat();
      FlatModel.write(flat.master(), i -> 1);
      FlatModel.write(flat.gradients(), i -> 1);
      SgdOptimizer optimizer = new SgdOptimizer(model.arena(), flat, 0, false, 0);

      for (long step = 1; step <= 32; step++) {
        optimizer.step(step, 1.0 / 1024, 1);
      }

      assertThat(FlatModel.read(flat.values())).containsExactly(1 - 32.0 / 1024);
    }
  }

  @Example
  void theStateHasANameForEachTensorOfTheModelsSize() {
    try (FlatModel model = FlatModel.of(Shape.of(2, 2), Shape.of(3))) {
      FlatParameters flat = model.flat();

      FlatOptimizer adamW = new AdamWOptimizer(model.arena(), flat, 0.9, 0.95, 1e-8, 0);
      FlatOptimizer momentum = new SgdOptimizer(model.arena(), flat, 0.9, false, 0);
      FlatOptimizer plain = new SgdOptimizer(model.arena(), flat, 0, false, 0);

      assertThat(adamW.state()).containsOnlyKeys("first_moments", "second_moments");
      assertThat(momentum.state()).containsOnlyKeys("momenta");
      assertThat(plain.state()).isEmpty();
      assertThat(adamW.state().values()).allSatisfy(state -> assertFresh(state, 7));
      assertThat(momentum.state().values()).allSatisfy(state -> assertFresh(state, 7));
    }
  }

  private static void assertFresh(Tensor state, long count) {
    assertThat(state.dtype()).isEqualTo(DType.FLOAT32);
    assertThat(state.shape()).isEqualTo(Shape.of(count));
    assertThat(FlatModel.read(state)).containsOnly(0);
  }

  @Example
  void theStateGoesOnWhereItWasLoaded() {
    try (FlatModel model = FlatModel.of(Shape.of(2, 2), Shape.of(3));
        FlatModel resumed = FlatModel.of(Shape.of(2, 2), Shape.of(3))) {
      AdamWOptimizer optimizer =
          new AdamWOptimizer(model.arena(), model.flat(), 0.9, 0.95, 1e-8, DECAY);
      model.flat().initialize(parameter -> 1);
      FlatModel.write(model.flat().gradients(), i -> i - 3);
      optimizer.step(1, LEARNING_RATE, 1);

      AdamWOptimizer second =
          new AdamWOptimizer(resumed.arena(), resumed.flat(), 0.9, 0.95, 1e-8, DECAY);
      copy(model.flat().master(), resumed.flat().master());
      copy(model.flat().gradients(), resumed.flat().gradients());
      optimizer.state().forEach((name, from) -> copy(from, second.state().get(name)));
      optimizer.step(2, LEARNING_RATE, 1);
      second.step(2, LEARNING_RATE, 1);

      assertThat(FlatModel.read(resumed.flat().master()))
          .isEqualTo(FlatModel.read(model.flat().master()));
    }
  }

  private static void copy(Tensor from, @Nullable Tensor to) {
    double[] values = FlatModel.read(from);
    FlatModel.write(Objects.requireNonNull(to), i -> values[i]);
  }
}
