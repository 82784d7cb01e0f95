package dev.phalanx.tensor.nn;

import dev.phalanx.tensor.autograd.Parameter;
import java.util.List;

/** Something with parameters. */
public interface Layer {
  /** All parameters, each once, in the order in which the forward pass reads them first. */
  List<Parameter> parameters();
}
