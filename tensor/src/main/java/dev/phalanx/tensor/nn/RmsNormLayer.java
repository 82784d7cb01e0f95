package dev.phalanx.tensor.nn;

import dev.phalanx.tensor.autograd.Parameter;
import dev.phalanx.tensor.autograd.Partition;
import dev.phalanx.tensor.autograd.RmsNorm;
import dev.phalanx.tensor.autograd.Tape;
import dev.phalanx.tensor.autograd.Variable;
import java.util.List;

/** {@link RmsNorm} with the parameter {@code NAME.weight} [d], which this rank holds whole. */
public final class RmsNormLayer implements NormLayer {
  private final Parameter weight;
  private final double epsilon;

  public RmsNormLayer(
      String name, Partition partition, double epsilon, Parameter.Initializer weightInitializer) {
    this.weight = new Parameter(name + ".weight", partition, weightInitializer);
    this.epsilon = epsilon;
  }

  @Override
  public Variable forward(Tape tape, Variable x) {
    return RmsNorm.apply(tape, x, weight, epsilon);
  }

  @Override
  public List<Parameter> parameters() {
    return List.of(weight);
  }
}
