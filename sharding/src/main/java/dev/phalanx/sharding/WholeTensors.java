package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.util.List;
import java.util.Map;

/**
 * A tensor for each parameter of a model, in the parameter's shape: for a checkpoint.
 *
 * @param owned what was made for it alone, to be closed when it is written
 */
public record WholeTensors(Map<Parameter, Tensor> tensors, List<Tensor> owned) {
  /**
   * @throws IllegalArgumentException where it is no parameter of the model
   */
  public Tensor of(Parameter parameter) {
    Tensor tensor = tensors.get(parameter);
    if (tensor == null) {
      throw new IllegalArgumentException("Parameter " + parameter + " is not one of this model");
    }
    return tensor;
  }
}
