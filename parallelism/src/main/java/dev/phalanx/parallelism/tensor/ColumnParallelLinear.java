package dev.phalanx.parallelism.tensor;

import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Linear;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import dev.phalanx.tensor.nn.Layer;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code y = x weight^T + bias} of which each rank computes some columns of y, with those rows of
 * the weight (Shoeybi et al., 2019, "Megatron-LM", 3, and its operator f).
 *
 * <pre>
 *                       forward                   backward
 *   tensor parallel     x is here                 sum of dx
 *   sequence parallel   gather rows of x          gather rows of x; sum of dx, each rank its rows
 * </pre>
 *
 * <p>The sum of dx is under way while the weight's gradient is computed.
 */
public final class ColumnParallelLinear implements Layer {
  private final TensorGroup group;
  private final Parameter weight;
  private final @Nullable Parameter bias;

  /**
   * @param outputs of the whole layer
   * @param rows of the whole weight that this rank has, in the order of its results
   * @param biasInitializer null for a layer without bias
   */
  public ColumnParallelLinear(
      TensorGroup group,
      String name,
      long inputs,
      long outputs,
      List<Rows> rows,
      Parameter.Initializer weightInitializer,
      Parameter.@Nullable Initializer biasInitializer) {
    this.group = group;
    Shape shape = Shape.of(outputs, inputs);
    this.weight =
        new Parameter(
            name + ".weight", group.part(shape, Rows.blocks(rows, inputs)), weightInitializer);
    Shape vector = Shape.of(outputs);
    this.bias =
        biasInitializer == null
            ? null
            : new Parameter(
                name + ".bias", group.part(vector, Rows.blocks(rows, 1)), biasInitializer);
  }

  /** The rows [n, in] that are here to this rank's columns [all n, out / size] of all rows. */
  public Variable forward(Tape tape, Variable x) {
    if (group.isSingle()) {
      return Linear.apply(tape, x, weight, bias, null);
    }
    Engine engine = tape.engine();
    Shape all = group.allRows(x.shape());
    Tensor y = tape.allocate(x.value().dtype(), Shape.of(all.size(0), weight.shape().size(0)));
    Gathered input = Gathered.start(group, tape, x.value());
    engine.linear(input.await(), weight.value(), bias == null ? null : bias.value(), null, y);
    input.close();
    return tape.record(
        y,
        List.of(x),
        bias == null ? List.of(weight) : List.of(weight, bias),
        List.of(x),
        List.of(),
        dy -> {
          Gathered shared = tape.leavesForLater() ? null : Gathered.start(group, tape, x.value());
          Runnable parameterGradients = () -> parameterGradients(tape, dy, x, shared);
          if (x.requiresGradient()) {
            tape.contributeNew(x, dx -> inputGradient(tape, dy, all, dx, parameterGradients));
          } else {
            parameterGradients.run();
          }
          if (shared != null) {
            shared.close();
          }
        });
  }

  /**
   * @param meanwhile what is computed while the ranks add up
   */
  private void inputGradient(Tape tape, Tensor dy, Shape all, Tensor dx, Runnable meanwhile) {
    if (!group.isSequenceParallel()) {
      tape.engine().matmul(dy, false, weight.value(), false, dx, 1, false);
      DeviceCollectives.Pending sum = group.startSum(dx);
      meanwhile.run();
      group.await(sum);
      return;
    }
    try (Tensor whole = tape.allocate(dx.dtype(), all)) {
      tape.engine().matmul(dy, false, weight.value(), false, whole, 1, false);
      DeviceCollectives.Pending sum = group.startSumRows(whole, dx);
      meanwhile.run();
      group.await(sum);
    }
  }

  private void parameterGradients(Tape tape, Tensor dy, Variable x, @Nullable Gathered shared) {
    Engine engine = tape.engine();
    tape.contributeLate(
        weight,
        (dWeight, accumulate) ->
            Gathered.use(
                group,
                tape,
                x.value(),
                shared,
                all -> engine.matmul(dy, true, all, false, dWeight, 1, accumulate)));
    if (bias != null) {
      tape.contribute(bias, (dBias, accumulate) -> engine.sumRows(dy, dBias, accumulate));
    }
  }

  /** [out / size, in]. */
  public Parameter weight() {
    return weight;
  }

  @Override
  public List<Parameter> parameters() {
    return bias == null ? List.of(weight) : List.of(weight, bias);
  }
}
