package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.io.IOException;

/** Where parameters are read from: a checkpoint, a directory of weights. */
@FunctionalInterface
public interface ParameterSource {
  /**
   * Reads one parameter whole, whatever part of it this rank holds.
   *
   * @param destination of the whole parameter's shape, FLOAT32
   */
  void read(Parameter parameter, Tensor destination) throws IOException;
}
