package dev.phalanx.engine.torch;

import dev.phalanx.engine.host.EngineContract;
import dev.phalanx.engine.host.LossRows;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import org.bytedeco.pytorch.global.torch;

/**
 * Cross-entropy over columns that lie in several places, by rows that stay in cache.
 *
 * <p>Between forward and backward FLOAT32 logits are their exponentials under the row's maximum;
 * narrower ones stay as they are, for their rounding would show (see {@link Losses}).
 */
final class PartialLosses {
  private static final long CHUNK_ELEMENTS = 64 * 1024;
  private static final long[] COLUMNS = {1};

  private final TorchContext context;
  private final Scratch wide;
  private final Scratch narrowMaxima;

  PartialLosses(TorchContext context) {
    this.context = context;
    this.wide = context.scratch();
    this.narrowMaxima = context.scratch();
  }

  void rowMaxima(Tensor x, Tensor maxima) {
    EngineContract.rowMaxima(x, maxima);
    if (x.size(0) == 0) {
      return;
    }
    if (x.dtype() == DType.FLOAT32) {
      torch.amax_out(context.of(maxima), context.of(x), COLUMNS, false);
    } else {
      var narrow = narrowMaxima.get(x.dtype(), x.size(0));
      torch.amax_out(narrow, context.of(x), COLUMNS, false);
      context.of(maxima).copy_(narrow);
    }
  }

  void forward(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums, Tensor picked) {
    EngineContract.crossEntropyPart(logits, firstColumn, targets, maxima, sums, picked);
    long[] columns = LossRows.columns(targets, firstColumn, logits.size(1));
    context.of(picked);
    FloatBuffer pickedValues = floats(picked);
    forEachChunk(
        logits,
        maxima,
        sums,
        (values, start, count, someMaxima, someSums, some) -> {
          values.sub_(someMaxima);
          pick(values, columns, start, count, pickedValues);
          values.exp_();
          torch.sum_out(someSums, values, COLUMNS, true, context.type(DType.FLOAT32));
        });
  }

  private static void pick(
      org.bytedeco.pytorch.Tensor values, long[] columns, long start, long count, FloatBuffer to) {
    long vocabulary = values.size(1);
    FloatBuffer chunk = TorchContext.hostFloats(values);
    for (int row = 0; row < count; row++) {
      int at = (int) start + row;
      to.put(at, columns[at] < 0 ? 0 : chunk.get((int) (row * vocabulary + columns[at])));
    }
  }

  void backward(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums, double scale) {
    EngineContract.crossEntropyPartBackward(logits, firstColumn, targets, maxima, sums);
    long[] columns = LossRows.columns(targets, firstColumn, logits.size(1));
    LongBuffer target = longs(targets);
    boolean inPlace = logits.dtype() == DType.FLOAT32;
    forEachChunk(
        logits,
        maxima,
        sums,
        (values, start, count, someMaxima, someSums, some) -> {
          if (!inPlace) {
            values.sub_(someMaxima);
            values.exp_();
          }
          values.div_(someSums);
          values.mul_(context.scalar(scale));
          finish(values, columns, start, count, target, scale);
          if (!inPlace) {
            some.copy_(values);
          }
        });
  }

  private static void finish(
      org.bytedeco.pytorch.Tensor values,
      long[] columns,
      long start,
      long count,
      LongBuffer targets,
      double scale) {
    long vocabulary = values.size(1);
    FloatBuffer chunk = TorchContext.hostFloats(values);
    for (int row = 0; row < count; row++) {
      int at = (int) start + row;
      if (targets.get(at) < 0) {
        try (var all = values.narrow(0, row, 1)) {
          all.zero_(); // such a row may hold what is no number
        }
      } else if (columns[at] >= 0) {
        int place = (int) (row * vocabulary + columns[at]);
        chunk.put(place, (float) (chunk.get(place) - scale));
      }
    }
  }

  /** Some rows, FLOAT32: the logits themselves, or a copy. */
  @FunctionalInterface
  private interface ChunkWork {
    void run(
        org.bytedeco.pytorch.Tensor values,
        long start,
        long count,
        org.bytedeco.pytorch.Tensor maxima,
        org.bytedeco.pytorch.Tensor sums,
        org.bytedeco.pytorch.Tensor logits);
  }

  private void forEachChunk(Tensor logits, Tensor maxima, Tensor sums, ChunkWork work) {
    long rows = logits.size(0);
    long vocabulary = logits.size(1);
    long chunk = Math.max(1, CHUNK_ELEMENTS / vocabulary);
    for (long start = 0; start < rows; start += chunk) {
      long count = Math.min(chunk, rows - start);
      try (var some = context.of(logits).narrow(0, start, count);
          var flatMaxima = context.of(maxima).narrow(0, start, count);
          var someMaxima = flatMaxima.unsqueeze(1);
          var flatSums = context.of(sums).narrow(0, start, count);
          var someSums = flatSums.unsqueeze(1)) {
        if (logits.dtype() == DType.FLOAT32) {
          work.run(some, start, count, someMaxima, someSums, some);
        } else {
          var copy = wide.get(DType.FLOAT32, count, vocabulary);
          copy.copy_(some);
          work.run(copy, start, count, someMaxima, someSums, some);
        }
      }
    }
  }

  private static FloatBuffer floats(Tensor tensor) {
    return tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize())).asFloatBuffer();
  }

  private static LongBuffer longs(Tensor tensor) {
    return tensor.byteBuffer(0, Math.toIntExact(tensor.byteSize())).asLongBuffer();
  }
}
