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

  /** Elements in a multiple of which no processor's vector loop leaves a rest. */
  private static final long VECTOR = 16;

  private final TorchContext context;
  private final BoxedOperator fusedAdamW;
  private final IValue none;
  private final IValue no;
  private final GenericList[] lists = new GenericList[6];
  private final IValue[] boxedLists = new IValue[6];
  private final Scratch scaled;
  private final Scratch step;
  private final Scratch rest;

  Optimizers(TorchContext context) {
    this.context = context;
    this.fusedAdamW = context.operator("aten::_fused_adamw_", "");
    this.none = context.own(new IValue());
    this.no = context.own(new IValue(false));
    this.scaled = context.scratch();
    this.step = context.scratch();
    this.rest = context.scratch();
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
    try {
      var p = context.of(parameters);
      var g = context.of(gradients);
      var m = context.of(firstMoments);
      var v = context.of(secondMoments);
      long even = count - count % VECTOR;
      long pieceSize = update.gradientScale() != 1 ? ADAM_PIECE : Math.max(1, even);
      for (long start = 0; start < even; start += pieceSize) {
        long length = Math.min(pieceSize, even - start);
        try (var somePs = p.narrow(0, start, length);
            var someGs = g.narrow(0, start, length);
            var someMs = m.narrow(0, start, length);
            var someVs = v.narrow(0, start, length)) {
          fused(update, somePs, someGs, someMs, someVs, length);
        }
      }
      if (even < count) {
        try (var lastPs = p.narrow(0, even, count - even);
            var lastGs = g.narrow(0, even, count - even);
            var lastMs = m.narrow(0, even, count - even);
            var lastVs = v.narrow(0, even, count - even)) {
          filledUp(update, lastPs, lastGs, lastMs, lastVs, count - even);
        }
      }
    } finally {
      for (GenericList list : lists) {
        list.clear();
      }
    }
  }

  /**
   * Updates fewer elements than a vector has in one that is filled up with noughts: the kernel
   * rounds what it does one by one in another way, and an element's bits must not depend on where
   * its rank's part ends.
   */
  private void filledUp(
      AdamW update,
      org.bytedeco.pytorch.Tensor p,
      org.bytedeco.pytorch.Tensor g,
      org.bytedeco.pytorch.Tensor m,
      org.bytedeco.pytorch.Tensor v,
      long length) {
    var vectors = rest.get(DType.FLOAT32, 4, VECTOR);
    vectors.zero_();
    try (var fullP = vectors.select(0, 0);
        var fullG = vectors.select(0, 1);
        var fullM = vectors.select(0, 2);
        var fullV = vectors.select(0, 3);
        var somePs = fullP.narrow(0, 0, length);
        var someGs = fullG.narrow(0, 0, length);
        var someMs = fullM.narrow(0, 0, length);
        var someVs = fullV.narrow(0, 0, length)) {
      somePs.copy_(p);
      someGs.copy_(g);
      someMs.copy_(m);
      someVs.copy_(v);
      fused(update, fullP, fullG, fullM, fullV, VECTOR);
      p.copy_(somePs);
      m.copy_(someMs);
      v.copy_(someVs);
    }
  }

  private void fused(
      AdamW update,
      org.bytedeco.pytorch.Tensor p,
      org.bytedeco.pytorch.Tensor g,
      org.bytedeco.pytorch.Tensor m,
      org.bytedeco.pytorch.Tensor v,
      long length) {
    var gradient = g;
    if (update.gradientScale() != 1) {
      gradient = scaled.get(DType.FLOAT32, length);
      torch.mul_out(gradient, g, context.scalar(update.gradientScale()));
    }
    var stepCount = step.get(DType.FLOAT32, 1);
    stepCount.fill_(context.scalar(update.step()));
    setList(0, p);
    setList(1, gradient);
    setList(2, m);
    setList(3, v);
    setList(5, stepCount);
    try (var learningRate = new IValue(update.learningRate());
        var beta1 = new IValue(update.beta1());
        var beta2 = new IValue(update.beta2());
        var weightDecay = new IValue(update.weightDecay());
        var epsilon = new IValue(update.epsilon())) {
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
