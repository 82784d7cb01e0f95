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
    Flat all = flat(parameters, gradients, firstMoments, secondMoments);
    try {
      long even = count - count % VECTOR;
      long pieceSize = update.gradientScale() != 1 ? ADAM_PIECE : Math.max(1, even);
      for (long start = 0; start < even; start += pieceSize) {
        try (Flat piece = all.part(start, Math.min(pieceSize, even - start))) {
          fused(update, piece);
        }
      }
      if (even < count) {
        try (Flat last = all.part(even, count - even)) {
          filledUp(update, last);
        }
      }
    } finally {
      for (GenericList list : lists) {
        list.clear();
      }
    }
  }

  /** What an update of AdamW reads and writes: [n] each. */
  private record Flat(
      org.bytedeco.pytorch.Tensor parameters,
      org.bytedeco.pytorch.Tensor gradients,
      org.bytedeco.pytorch.Tensor firstMoments,
      org.bytedeco.pytorch.Tensor secondMoments)
      implements AutoCloseable {
    /** Views, which the caller closes. */
    Flat part(long start, long length) {
      return new Flat(
          parameters.narrow(0, start, length),
          gradients.narrow(0, start, length),
          firstMoments.narrow(0, start, length),
          secondMoments.narrow(0, start, length));
    }

    @Override
    public void close() {
      parameters.close();
      gradients.close();
      firstMoments.close();
      secondMoments.close();
    }
  }

  /** Of our tensors, with which it is closed. */
  private Flat flat(
      Tensor parameters, Tensor gradients, Tensor firstMoments, Tensor secondMoments) {
    return new Flat(
        context.of(parameters),
        context.of(gradients),
        context.of(firstMoments),
        context.of(secondMoments));
  }

  /**
   * Updates fewer elements than a vector has in one that is filled up with noughts: the kernel
   * rounds what it does one by one in another way, and an element's bits must not depend on where
   * its rank's part ends.
   */
  private void filledUp(AdamW update, Flat last) {
    var vectors = rest.get(DType.FLOAT32, 4, VECTOR);
    vectors.zero_();
    try (Flat full =
            new Flat(
                vectors.select(0, 0),
                vectors.select(0, 1),
                vectors.select(0, 2),
                vectors.select(0, 3));
        Flat some = full.part(0, last.parameters().numel())) {
      some.parameters().copy_(last.parameters());
      some.gradients().copy_(last.gradients());
      some.firstMoments().copy_(last.firstMoments());
      some.secondMoments().copy_(last.secondMoments());
      fused(update, full);
      last.parameters().copy_(some.parameters());
      last.firstMoments().copy_(some.firstMoments());
      last.secondMoments().copy_(some.secondMoments());
    }
  }

  private void fused(AdamW update, Flat piece) {
    var gradients = piece.gradients();
    if (update.gradientScale() != 1) {
      gradients = scaled.get(DType.FLOAT32, gradients.numel());
      torch.mul_out(gradients, piece.gradients(), context.scalar(update.gradientScale()));
    }
    var stepCount = step.get(DType.FLOAT32, 1);
    stepCount.fill_(context.scalar(update.step()));
    setList(0, piece.parameters());
    setList(1, gradients);
    setList(2, piece.firstMoments());
    setList(3, piece.secondMoments());
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
    Flat all = flat(parameters, gradients, firstMoments, secondMoments);
    long count = parameters.elementCount();
    for (long start = 0; start < count; start += SGD_PIECE) {
      long length = Math.min(SGD_PIECE, count - start);
      var denominator = scaled.get(DType.FLOAT32, length);
      try (Flat piece = all.part(start, length)) {
        var p = piece.parameters();
        var m = piece.firstMoments();
        torch.mul_out(m, piece.gradients(), context.scalar(update.gradientScale()));
        torch.sqrt_out(denominator, piece.secondMoments());
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
