package dev.phalanx.tensor.nn;

import dev.phalanx.tensor.autograd.LayerNorm;
import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.List;

/**
 * {@link LayerNorm} with parameters {@code NAME.weight} and {@code NAME.bias}, both [d], which this
 * rank holds whole.
 */
public final class LayerNormLayer implements NormLayer {
  private final Parameter weight;
  private final Parameter bias;
  private final double epsilon;

  public LayerNormLayer(
      String name,
      Partition partition,
      double epsilon,
      Parameter.Initializer weightInitializer,
      Parameter.Initializer biasInitializer) {
    this.weight = new Parameter(name + ".weight", partition, weightInitializer);
    this.bias = new Parameter(name + ".bias", partition, biasInitializer);
    this.epsilon = epsilon;
  }

  @Override
  public Variable forward(Tape tape, Variable x) {
    return LayerNorm.apply(tape, x, weight, bias, epsilon);
  }

  @Override
  public List<Parameter> parameters() {
    return List.of(weight, bias);
  }
}
