package dev.phalanx.engine.torch;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;

/** Weights, statistics and their gradients: what the two norms check and prepare alike. */
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

  void check(String kernel, Tensor x, Tensor... parameters) {
    if (x.shape().rank() != 2) {
      throw Arguments.unfit(kernel, "rows x [n, d]", x);
    }
    for (Tensor parameter : parameters) {
      Arguments.floating(kernel, x, parameter);
      Arguments.contiguous(kernel, parameter);
      if (!Arguments.isVector(parameter, x.size(1))) {
        throw Arguments.unfit(kernel, "parameters [d] of x [n, d]", parameter, x);
      }
    }
  }

  void checkGradients(String kernel, Tensor x, Tensor... gradients) {
    for (Tensor gradient : gradients) {
      Arguments.sameOrWider(kernel, x, gradient);
      Arguments.contiguous(kernel, gradient);
      if (!Arguments.isVector(gradient, x.size(1))) {
        throw Arguments.unfit(kernel, "parameters' gradients [d] of x [n, d]", gradient, x);
      }
    }
  }

  void checkStatistics(String kernel, Tensor x, Tensor... statistics) {
    for (Tensor statistic : statistics) {
      Arguments.type(kernel, DType.FLOAT32, statistic);
      Arguments.contiguous(kernel, statistic);
      if (!Arguments.isVector(statistic, x.size(0))) {
        throw Arguments.unfit(kernel, "statistics [n] of x [n, d]", statistic, x);
      }
    }
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
