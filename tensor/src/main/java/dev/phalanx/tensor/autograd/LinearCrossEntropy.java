package dev.phalanx.tensor.autograd;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Engine;
import dev.phalanx.tensor.Shape;
import dev.phalanx.tensor.Tensor;
import java.util.List;

/**
 * A projection to the vocabulary and its {@link CrossEntropy} in one operation that never holds all
 * logits.
 *
 * <p>Rows are taken in chunks. While the logits of a chunk are at hand, their gradient is too (the
 * loss is the end of the forward pass, so its gradient is known), and with it the chunk's part of
 * both gradients: of the hidden states, kept for the backward pass, and of the weight, added to at
 * once (Hsu et al., 2024, "Liger Kernel", section 3.2). The memory for logits falls from n * v to
 * chunk * v elements, and a chunk stays in the cache.
 */
public final class LinearCrossEntropy {
  /** Bytes of one chunk's logits that still leave room in a shared cache of a few tens of MiB. */
  private static final long CHUNK_BYTES = 16L << 20;

  private static final long MINIMUM_ROWS = 128;

  private LinearCrossEntropy() {}

  /** Rows of logits that are at hand at once. */
  public static long rowsAtOnce(DType dtype, long vocabulary) {
    return Math.max(MINIMUM_ROWS, CHUNK_BYTES / dtype.bytes(Math.max(1, vocabulary)));
  }

  /**
   * @param x [n, d]
   * @param weight [v, d]
   * @param targets [n] INT64; negative ones do not count
   * @param scale see {@link CrossEntropy}
   */
  public static Loss apply(Tape tape, Variable x, Parameter weight, Tensor targets, double scale) {
    Engine engine = tape.engine();
    long rows = x.shape().size(0);
    long vocabulary = weight.shape().size(0);
    DType dtype = x.value().dtype();
    long chunk = rowsAtOnce(dtype, vocabulary);
    Tensor losses = tape.allocate(DType.FLOAT32, Shape.of(rows));
    Tensor dx = tape.allocate(dtype, tape.isRecording() ? x.shape() : Shape.of(0));
    for (long start = 0; start < rows; start += chunk) {
      long count = Math.min(chunk, rows - start);
      Tensor xChunk = x.value().slice(0, start, count);
      try (Tensor targetChunk = targets.slice(0, start, count);
          Tensor logits = tape.allocate(dtype, Shape.of(count, vocabulary))) {
        engine.matmul(xChunk, false, weight.value(), true, logits, 1, false);
        engine.crossEntropy(logits, targetChunk, losses.slice(0, start, count));
        if (tape.isRecording()) {
          engine.crossEntropyBackward(logits, targetChunk, scale);
          engine.matmul(logits, false, weight.value(), false, dx.slice(0, start, count), 1, false);
          tape.contribute(
              weight,
              (dWeight, accumulate) ->
                  engine.matmul(logits, true, xChunk, false, dWeight, 1, accumulate));
        }
      }
    }
    tape.own(dx);
    return tape.recordLoss(losses, List.of(weight), List.of(), List.of(), () -> tape.give(x, dx));
  }
}
