package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Sgd;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.GenericList;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.TensorList;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/** Updates of flat memory in FLOAT32. */
final class Optimizers {
  /**
   * Elements updated at once where the gradient is scaled first: LibTorch's fused kernel would
   * write the scaled gradient back, so it is given a scaled copy, of which a piece stays in cache.
   */
  private static final long ADAM_PIECE = 512 * 1024;

  private static final long SGD_PIECE = 64 * 1024;

  private final TorchContext context;
  private final BoxedOperator fusedAdamW;
  private final IValue none;
  private final IValue no;
  private final GenericList[] lists = new GenericList[6];
  private final IValue[] boxedLists = new IValue[6];
  private final Scratch scaled;
  private final Scratch step;

  Optimizers(TorchContext context) {
    this.context = context;
    this.fusedAdamW = context.operator("aten::_fused_adamw_", "");
    this.none = context.own(new IValue());
    this.no = context.own(new IValue(false));
    this.scaled = context.scratch();
    this.step = context.scratch();
    try (var tensors = new TensorList()) {
      for (int i = 0; i < lists.length; i++) {
        lists[i] = context.own(new GenericList(tensors.elementType()));
        boxedLists[i] = context.own(new IValue(lists[i]));
      }
    }
  }

  void adamW(
      AdamW update,
      Tensor parameters,
      Tensor gradients,
      Tensor firstMoments,
      Tensor secondMoments) {
    EngineContract.adamW(update, parameters, gradients, firstMoments, secondMoments);
    long count = parameters.elementCount();
    if (count == 0) {
      return;
    }
    if (update.isVarianceFrozen()) {
      frozenAdamW(update, parameters, gradients, firstMoments, secondMoments);
      return;
    }
    try (var learningRate = new IValue(update.learningRate());
        var beta1 = new IValue(update.beta1());
        var beta2 = new IValue(update.beta2());
        var weightDecay = new IValue(update.weightDecay());
        var epsilon = new IValue(update.epsilon())) {
      var stepCount = step.get(DType.FLOAT32, 1);
      stepCount.fill_(context.scalar(update.step()));
      boolean isScaled = update.gradientScale() != 1;
      long pieceSize = isScaled ? ADAM_PIECE : count;
      for (long start = 0; start < count; start += pieceSize) {
        long length = Math.min(pieceSize, count - start);
        try (var p = context.of(parameters).narrow(0, start, length);
            var g = context.of(gradients).narrow(0, start, length);
            var m = context.of(firstMoments).narrow(0, start, length);
            var v = context.of(secondMoments).narrow(0, start, length)) {
          var gradient = g;
          if (isScaled) {
            gradient = scaled.get(DType.FLOAT32, length);
            torch.mul_out(gradient, g, context.scalar(update.gradientScale()));
          }
          setList(0, p);
          setList(1, gradient);
          setList(2, m);
          setList(3, v);
          setList(5, stepCount);
          fusedAdamW.call(
              boxedLists[0],
              boxedLists[1],
              boxedLists[2],
              boxedLists[3],
              boxedLists[4],
              boxedLists[5],
              learningRate,
              beta1,
              beta2,
              weightDecay,
              epsilon,
              no,
              no,
              none,
              none);
          fusedAdamW.forget();
        }
      }
    } finally {
      for (GenericList list : lists) {
        list.clear();
      }
    }
  }

  private void frozenAdamW(
      AdamW update,
      Tensor parameters,
      Tensor gradients,
      Tensor firstMoments,
      Tensor secondMoments) {
    double firstCorrection = 1 - Math.pow(update.beta1(), update.step());
    double secondCorrection = 1 - Math.pow(update.beta2(), update.varianceSteps());
    long count = parameters.elementCount();
    for (long start = 0; start < count; start += SGD_PIECE) {
      long length = Math.min(SGD_PIECE, count - start);
      var denominator = scaled.get(DType.FLOAT32, length);
      try (var p = context.of(parameters).narrow(0, start, length);
          var g = context.of(gradients).narrow(0, start, length);
          var m = context.of(firstMoments).narrow(0, start, length);
          var v = context.of(secondMoments).narrow(0, start, length)) {
        torch.mul_out(m, g, context.scalar(update.gradientScale()));
        torch.sqrt_out(denominator, v);
        denominator.div_(context.scalar(Math.sqrt(secondCorrection)));
        denominator.add_(context.scalar(update.epsilon()));
        p.mul_(context.scalar(1 - update.learningRate() * update.weightDecay()));
        p.addcdiv_(m, denominator, context.scalar(-update.learningRate() / firstCorrection));
      }
    }
  }

  private void setList(int index, org.bytedeco.pytorch.Tensor tensor) {
    lists[index].clear();
    try (var value = new IValue(tensor)) {
      lists[index].push_back(value);
    }
  }

  void sgd(Sgd update, Tensor parameters, Tensor gradients, @Nullable Tensor momenta) {
    EngineContract.sgd(update, parameters, gradients, momenta);
    long count = parameters.elementCount();
    for (long start = 0; start < count; start += SGD_PIECE) {
      long length = Math.min(SGD_PIECE, count - start);
      var change = scaled.get(DType.FLOAT32, length);
      try (var p = context.of(parameters).narrow(0, start, length);
          var g = context.of(gradients).narrow(0, start, length)) {
        torch.mul_out(change, g, context.scalar(update.gradientScale()));
        if (update.weightDecay() != 0) {
          change.add_(p, context.scalar(update.weightDecay()));
        }
        if (momenta == null) {
          p.add_(change, context.scalar(-update.learningRate()));
          continue;
        }
        try (var m = context.of(momenta).narrow(0, start, length)) {
          m.mul_(context.scalar(update.momentum()));
          m.add_(change);
          if (update.nesterov()) {
            change.add_(m, context.scalar(update.momentum()));
            p.add_(change, context.scalar(-update.learningRate()));
          } else {
            p.add_(m, context.scalar(-update.learningRate()));
          }
        }
      }
    }
  }
}
