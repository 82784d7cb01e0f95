package dev.phalanx.tensor.autograd;

/**
 * Hears during the backward pass when a parameter's gradient will not change any more in this pass.
 */
@FunctionalInterface
public interface GradientListener {
  /**
   * Called on the thread that runs the backward pass, once for each parameter that the forward pass
   * used.
   */
  void gradientComplete(Parameter parameter);
}
