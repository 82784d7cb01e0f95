package dev.phalanx.parallelism.tensor;

import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Linear;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.tensor.nn.Layer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = x weight^T + bias} of which each rank has some columns of x and of the weight, so that
 * its product is a part of a sum (Shoeybi et al., 2019, "Megatron-LM", 3, and its operator g).
 *
 * <pre>
 *                       forward                        backward
 *   tensor parallel     sum of y                       dy is here
 *   sequence parallel   sum of y, each rank its rows   gather rows of dy
 * </pre>
 *
 * <p>The bias, of which every rank has a copy, and without sequence parallelism a residual too ride
 * on the first rank's part of the sum.
 */
public final class RowParallelLinear implements Layer {
  private final TensorGroup group;
  private final Parameter weight;
  private final @Nullable Parameter bias;

  /**
   * @param inputs of the whole layer
   * @param columns of the whole weight that this rank has
   * @param biasInitializer null for a layer without bias
   */
  public RowParallelLinear(
      TensorGroup group,
      String name,
      long inputs,
      long outputs,
      TensorGroup.Share columns,
      Parameter.Initializer weightInitializer,
      Parameter.@Nullable Initializer biasInitializer) {
    this.group = group;
    this.weight =
        new Parameter(
            name + ".weight",
            group.part(
                Shape.of(outputs, inputs),
                List.of(
                    new Partition.Block(
                        0, outputs, columns.first(), columns.count(), Optional.empty()))),
            weightInitializer);
    this.bias =
        biasInitializer == null
            ? null
            : new Parameter(name + ".bias", group.copied(Shape.of(outputs)), biasInitializer);
  }

  /** This rank's columns [all n, in / size] to the rows [n, out] that belong here. */
  public Variable forward(Tape tape, Variable x) {
    return apply(tape, x, null);
  }

  /** {@link #forward} plus {@code residual}, [n, out] of the rows that belong here. */
  public Variable forwardAndAdd(Tape tape, Variable x, Variable residual) {
    return apply(tape, x, residual);
  }

  private Variable apply(Tape tape, Variable x, @Nullable Variable residual) {
    if (group.isSingle()) {
      return Linear.apply(tape, x, weight, bias, residual);
    }
    Engine engine = tape.engine();
    Tensor y = product(tape, x.value(), residual == null ? null : residual.value());
    List<Variable> inputs = new ArrayList<>(List.of(x));
    if (residual != null) {
      inputs.add(residual);
    }
    return tape.record(
        y,
        inputs,
        bias == null ? List.of(weight) : List.of(weight, bias),
        List.of(x),
        List.of(),
        dy -> {
          Gathered all = Gathered.start(group, tape, dy);
          if (bias != null) {
            tape.contribute(bias, (dBias, accumulate) -> engine.sumRows(dy, dBias, accumulate));
          }
          tape.contribute(
              x,
              (dx, accumulate) ->
                  engine.matmul(all.await(), false, weight.value(), false, dx, 1, accumulate));
          Gathered shared = tape.leavesForLater() ? null : all;
          tape.contributeLate(
              weight,
              (dWeight, accumulate) ->
                  Gathered.use(
                      group,
                      tape,
                      dy,
                      shared,
                      wholeDy ->
                          engine.matmul(wholeDy, true, x.value(), false, dWeight, 1, accumulate)));
          all.close();
          if (residual != null) {
            tape.give(residual, dy);
          }
        });
  }

  private Tensor product(Tape tape, Tensor x, @Nullable Tensor residual) {
    Engine engine = tape.engine();
    Shape whole = Shape.of(x.size(0), weight.shape().size(0));
    Tensor firstBias = bias == null || group.rank() > 0 ? null : bias.value();
    if (!group.isSequenceParallel()) {
      Tensor y = tape.allocate(x.dtype(), whole);
      engine.linear(x, weight.value(), firstBias, group.rank() > 0 ? null : residual, y);
      group.sum(y);
      return y;
    }
    Tensor y = tape.allocate(x.dtype(), group.ownRows(whole));
    try (Tensor part = tape.allocate(x.dtype(), whole)) {
      engine.linear(x, weight.value(), firstBias, null, part);
      group.await(group.startSumRows(part, y));
    }
    if (residual != null) {
      engine.addScaled(1, residual, y);
    }
    return y;
  }

  /** [out, in / size]. */
  public Parameter weight() {
    return weight;
  }

  @Override
  public List<Parameter> parameters() {
    return bias == null ? List.of(weight) : List.of(weight, bias);
  }
}
