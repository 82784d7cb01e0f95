package dev.phalanx.deeplearning4j;

/** Sees the gradients of a batch before they update anything. */
@FunctionalInterface
interface StepWatch {
  /**
   * The network's score is that of the whole batch already.
   *
   * @param gradientNorm over all parameters that are trained, of the batch of all ranks, without
   *     what l1 and l2 add
   * @return what gradients are multiplied with; heeded by our optimizers alone
   */
  double seen(double gradientNorm);
}
