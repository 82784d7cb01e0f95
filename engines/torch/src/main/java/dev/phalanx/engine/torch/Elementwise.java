package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.Arguments;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.global.torch;

/** Copies, fills and arithmetic element by element. */
final class Elementwise {
  private final TorchContext context;

  Elementwise(TorchContext context) {
    this.context = context;
  }

  void copy(Tensor source, Tensor destination) {
    Arguments.onCpu("copy", source);
    Arguments.onCpu("copy", destination);
    Arguments.sameShape("copy", source, destination);
    context.of(destination).copy_(context.of(source));
  }

  void fill(Tensor tensor, double value) {
    Arguments.onCpu("fill", tensor);
    if (value == 0) {
      context.of(tensor).zero_();
    } else {
      context.of(tensor).fill_(context.scalar(value));
    }
  }

  void add(Tensor a, Tensor b, Tensor out) {
    EngineContract.add(a, b, out);
    torch.add_out(context.of(out), context.of(a), context.of(b));
  }

  void addScaled(double alpha, Tensor x, Tensor y) {
    Arguments.floating("addScaled", x);
    Arguments.floating("addScaled", y);
    Arguments.sameShape("addScaled", x, y);
    if (alpha == 1) {
      context.of(y).add_(context.of(x));
    } else {
      context.of(y).add_(context.of(x), context.scalar(alpha));
    }
  }

  void scale(Tensor x, double alpha) {
    Arguments.floating("scale", x);
    context.of(x).mul_(context.scalar(alpha));
  }

  void multiply(Tensor a, Tensor b, Tensor out) {
    Arguments.alike("multiply", a, b, out);
    torch.mul_out(context.of(out), context.of(a), context.of(b));
  }
}
