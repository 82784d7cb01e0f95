package dev.phalanx.engine.torch;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;

/** Weights, statistics and their gradients: what the two norms prepare alike. */
final class NormParameters {
  private final TorchContext context;
  private final Scratch[] widened;

  NormParameters(TorchContext context) {
    this.context = context;
    this.widened = new Scratch[] {context.scratch(), context.scratch()};
  }

  /** The parameter in FLOAT32, copied to place 0 or 1 where it is of another type. */
  org.bytedeco.pytorch.Tensor wide(Tensor parameter, int place) {
    if (parameter.dtype() == DType.FLOAT32) {
      return context.of(parameter);
    }
    var copy = widened[place].get(DType.FLOAT32, parameter.size(0));
    copy.copy_(context.of(parameter));
    return copy;
  }

  /** Statistics [n] as [n, 1]; the caller closes the view. */
  org.bytedeco.pytorch.Tensor column(Tensor statistic) {
    return context.of(statistic).unsqueeze(1);
  }

  /** Sets gradients to zero unless they are added to. */
  void clear(boolean accumulate, Tensor... gradients) {
    if (!accumulate) {
      for (Tensor gradient : gradients) {
        context.of(gradient).zero_();
      }
    }
  }
}
