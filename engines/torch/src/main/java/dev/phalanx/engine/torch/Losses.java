package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.Arguments;
import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.LongBuffer;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.global.torch;

/**
 * Softmax and cross-entropy, by rows that stay in cache.
 *
 * <p>Between forward and backward FLOAT32 logits are their log-softmax: the backward has only to
 * take the exponential. BFLOAT16 logits stay as they are, for a log-probability of -10 rounded to
 * eight bits would be off by up to 0.03, and so its exponential by three percent.
 */
final class Losses {
  private static final long CHUNK_ELEMENTS = 64 * 1024;

  private final TorchContext context;
  private final BoxedOperator softmax;
  private final BoxedOperator logSoftmax;
  private final IValue innermost;
  private final IValue no;
  private final Scratch wide;
  private final Scratch columns;
  private final Scratch signs;

  Losses(TorchContext context) {
    this.context = context;
    this.softmax = context.operator("aten::_softmax", "out");
    this.logSoftmax = context.operator("aten::_log_softmax", "out");
    this.innermost = context.own(new IValue(-1L));
    this.no = context.own(new IValue(false));
    this.wide = context.scratch();
    this.columns = context.scratch();
    this.signs = context.scratch();
  }

  void softmax(Tensor x, Tensor out) {
    Arguments.alike("softmax", x, out);
    if (x.elementCount() == 0) {
      return;
    }
    softmax.call(context.handle(x).value(), innermost, no, context.handle(out).value());
    softmax.forget();
  }

  void crossEntropy(Tensor logits, Tensor targets, Tensor losses) {
    EngineContract.crossEntropy(logits, targets, losses);
    if (logits.size(0) == 0) {
      return;
    }
    long rows = logits.size(0);
    long vocabulary = logits.size(1);
    boolean allHaveTargets = readTargets(targets, vocabulary, -1);
    try (var lossColumn = context.of(losses).unsqueeze(1)) {
      if (logits.dtype() == DType.FLOAT32) {
        var boxed = context.handle(logits).value();
        logSoftmax.call(boxed, innermost, no, boxed);
        logSoftmax.forget();
        torch.gather_out(lossColumn, context.of(logits), 1, columns.get(DType.INT64, rows, 1));
      } else {
        crossEntropyInFloat32(logits, lossColumn);
      }
      lossColumn.mul_(signs.get(DType.FLOAT32, rows, 1));
      if (!allHaveTargets) {
        zeroRowsWithoutTarget(lossColumn, targets, 0, rows);
      }
    }
  }

  /** A factor of 0 is not enough: such a row may hold infinities and what is no number. */
  private static void zeroRowsWithoutTarget(
      org.bytedeco.pytorch.Tensor some, Tensor targets, long start, long count) {
    LongBuffer numbers =
        targets.byteBuffer(Long.BYTES * start, Math.toIntExact(Long.BYTES * count)).asLongBuffer();
    for (int i = 0; i < count; i++) {
      if (numbers.get(i) < 0) {
        try (var row = some.narrow(0, i, 1)) {
          row.zero_();
        }
      }
    }
  }

  /** The losses are those of FLOAT32. */
  private void crossEntropyInFloat32(Tensor logits, org.bytedeco.pytorch.Tensor lossColumn) {
    long rows = logits.size(0);
    long vocabulary = logits.size(1);
    long chunk = Math.max(1, CHUNK_ELEMENTS / vocabulary);
    var column = columns.get(DType.INT64, rows, 1);
    for (long start = 0; start < rows; start += chunk) {
      long count = Math.min(chunk, rows - start);
      var copy = wide.get(DType.FLOAT32, count, vocabulary);
      try (var some = context.of(logits).narrow(0, start, count);
          var someColumns = column.narrow(0, start, count);
          var someLosses = lossColumn.narrow(0, start, count);
          var boxed = new IValue(copy)) {
        copy.copy_(some);
        logSoftmax.call(boxed, innermost, no, boxed);
        logSoftmax.forget();
        torch.gather_out(someLosses, copy, 1, someColumns);
      }
    }
  }

  void crossEntropyBackward(Tensor logits, Tensor targets, double scale) {
    EngineContract.crossEntropyBackward(logits, targets);
    if (logits.size(0) == 0) {
      return;
    }
    long rows = logits.size(0);
    long vocabulary = logits.size(1);
    boolean allHaveTargets = readTargets(targets, vocabulary, scale);
    boolean inFloat32 = logits.dtype() == DType.FLOAT32;
    var column = columns.get(DType.INT64, rows, 1);
    var factors = signs.get(DType.FLOAT32, rows, 1);
    long chunk = Math.max(1, CHUNK_ELEMENTS / vocabulary);
    for (long start = 0; start < rows; start += chunk) {
      long count = Math.min(chunk, rows - start);
      try (var some = context.of(logits).narrow(0, start, count);
          var someColumns = column.narrow(0, start, count);
          var someFactors = factors.narrow(0, start, count);
          var minusFactors = someFactors.neg()) {
        var gradient = inFloat32 ? some : wide.get(DType.FLOAT32, count, vocabulary);
        if (inFloat32) {
          gradient.exp_();
        } else {
          gradient.copy_(some);
          softmaxInPlace(gradient);
        }
        if (allHaveTargets) {
          gradient.mul_(context.scalar(scale));
        } else {
          gradient.mul_(someFactors);
        }
        gradient.scatter_add_(1, someColumns, minusFactors);
        if (!allHaveTargets) {
          zeroRowsWithoutTarget(gradient, targets, start, count);
        }
        if (!inFloat32) {
          some.copy_(gradient);
        }
      }
    }
  }

  private void softmaxInPlace(org.bytedeco.pytorch.Tensor some) {
    try (var boxed = new IValue(some)) {
      softmax.call(boxed, innermost, no, boxed);
      softmax.forget();
    }
  }

  /**
   * Checks the targets and writes for each row the column of its target (0 where it has none) and a
   * factor (0 where it has none).
   *
   * @return whether all rows have a target
   */
  private boolean readTargets(Tensor targets, long vocabulary, double factor) {
    int rows = Math.toIntExact(targets.size(0));
    LongBuffer numbers = targets.byteBuffer(0, Math.multiplyExact(Long.BYTES, rows)).asLongBuffer();
    long[] column = new long[rows];
    float[] factors = new float[rows];
    boolean all = true;
    for (int i = 0; i < rows; i++) {
      long target = numbers.get(i);
      EngineContract.target(target, i, vocabulary);
      column[i] = Math.max(0, target);
      factors[i] = target < 0 ? 0 : (float) factor;
      all &= target >= 0;
    }
    TorchContext.hostLongs(columns.get(DType.INT64, rows, 1)).put(column);
    TorchContext.hostFloats(signs.get(DType.FLOAT32, rows, 1)).put(factors);
    return all;
  }
}
