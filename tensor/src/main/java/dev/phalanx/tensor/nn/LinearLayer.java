package dev.phalanx.tensor.nn;

import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.autograd.Linear;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * {@code x weight^T + bias}, with weight [out, in] named {@code NAME.weight} and bias [out] named
 * {@code NAME.bias}.
 */
public final class LinearLayer implements Layer {
  private final Parameter weight;
  private final @Nullable Parameter bias;

  /**
   * @param biasInitializer null for a layer without bias
   */
  public LinearLayer(
      String name,
      long inputs,
      long outputs,
      Parameter.Initializer weightInitializer,
      Parameter.@Nullable Initializer biasInitializer) {
    this.weight = new Parameter(name + ".weight", Shape.of(outputs, inputs), weightInitializer);
    this.bias =
        biasInitializer == null
            ? null
            : new Parameter(name + ".bias", Shape.of(outputs), biasInitializer);
  }

  /** [n, in] to [n, out]. */
  public Variable forward(Tape tape, Variable x) {
    return Linear.apply(tape, x, weight, bias, null);
  }

  /** The layer's result plus {@code residual}, [n, in] and [n, out] to [n, out]. */
  public Variable forwardAndAdd(Tape tape, Variable x, Variable residual) {
    return Linear.apply(tape, x, weight, bias, residual);
  }

  /** [out, in]. */
  public Parameter weight() {
    return weight;
  }

  @Override
  public List<Parameter> parameters() {
    return bias == null ? List.of(weight) : List.of(weight, bias);
  }
}
