package dev.phalanx.sharding;

import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.autograd.Parameter;
import java.io.IOException;

/** Where parameters are read from: a checkpoint, a directory of weights. */
@FunctionalInterface
public interface ParameterSource {
  /**
   * Reads rows of one parameter, whatever part of it this rank holds; a vector's elements are rows.
   *
   * @param first row of the whole parameter
   * @param rows of the whole parameter's shape but for their number, FLOAT32
   */
  void read(Parameter parameter, long first, Tensor rows) throws IOException;
}
