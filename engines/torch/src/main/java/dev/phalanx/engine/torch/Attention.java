package dev.phalanx.engine.torch;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Attention as products of matrices over blocks of queries: the scores of one block stay in cache
 * from the first product to the last, and backward computes them again from the row's logarithm of
 * summed exponentials instead of reading them back (Dao et al., FlashAttention, 2022). Keys are not
 * divided: where the products come from a good BLAS that saves the corrections between blocks of
 * keys, and a causal block meets no key behind its last query.
 *
 * <pre>
 *   for each sequence, block of queries, some heads at once:
 *     S = scale Q K^T          [heads, rows, keys]
 *     P = exp(S - max) / sum   out = P V
 *   backward, with D = rowsum(dO * O):
 *     P = exp(S - logSumExp)   dV += P^T dO    dP = dO V^T
 *     dS = P * (dP - D)        dQ = scale dS K    dK += scale dS^T Q
 * </pre>
 *
 * <p>BFLOAT16 sequences are widened to FLOAT32 one at a time, so that only the results are rounded.
 */
final class Attention {
  /** Fewer rows leave out more of the square above the diagonal, but make slower products. */
  private static final long MOST_ROWS = 64;

  private static final long FEWEST_ROWS = 32;

  /** Scores at once: two tensors of so many FLOAT32 lie in the second-level cache. */
  private static final long SCORES = 128 * 1024;

  private static final long[] INNERMOST = {-1};

  private final TorchContext context;
  private final BlasProducts blas = new BlasProducts();
  private final Scratch scoreMemory;
  private final Scratch slopeMemory;
  private final Scratch largestMemory;
  private final Scratch sumMemory;
  private final Scratch productMemory;
  private final Scratch deltaMemory;
  private final Scratch maskMemory;
  private final Scratch[] wide = new Scratch[8];
  private long maskRows;

  Attention(TorchContext context) {
    this.context = context;
    this.scoreMemory = context.scratch();
    this.slopeMemory = context.scratch();
    this.largestMemory = context.scratch();
    this.sumMemory = context.scratch();
    this.productMemory = context.scratch();
    this.deltaMemory = context.scratch();
    this.maskMemory = context.scratch();
    for (int i = 0; i < wide.length; i++) {
      wide[i] = context.scratch();
    }
  }

  /** One sequence of a tensor [b, t, h, d] in FLOAT32: where it lies and how it steps. */
  private record Sequence(long address, long positionStride, long headStride) {
    long at(long position, long head) {
      return address + Float.BYTES * (position * positionStride + head * headStride);
    }
  }

  /**
   * What a call works on.
   *
   * @param rows queries of a block
   * @param headsAtOnce heads whose scores are in memory together
   * @param ratio query heads that share a key head
   */
  private record Sizes(
      long queries,
      long keys,
      long heads,
      long width,
      long ratio,
      long rows,
      long headsAtOnce,
      boolean causal,
      double scale) {
    static Sizes of(Tensor query, Tensor key, boolean causal, double scale) {
      long keys = key.size(1);
      long rows =
          Math.min(query.size(1), Math.max(FEWEST_ROWS, Math.min(MOST_ROWS, SCORES / keys)));
      long headsAtOnce = Math.max(1, Math.min(query.size(2), SCORES / (rows * keys)));
      return new Sizes(
          query.size(1),
          keys,
          query.size(2),
          query.size(3),
          query.size(2) / key.size(2),
          rows,
          headsAtOnce,
          causal,
          scale);
    }

    /** Keys that a block of queries sees. */
    long keysOf(Block block) {
      return causal ? block.firstRow + block.rows : keys;
    }
  }

  /** Some queries of some heads. */
  private record Block(long firstRow, long rows, long firstHead, long heads) {}

  void forward(
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      double scale,
      Tensor out,
      Tensor logSumExp) {
    check("attention", query, key, value, causal, out, logSumExp);
    if (out.elementCount() == 0) {
      return;
    }
    if (key.elementCount() == 0) {
      context.of(out).zero_();
      context.of(logSumExp).fill_(context.scalar(Double.NEGATIVE_INFINITY));
      return;
    }
    Sizes sizes = Sizes.of(query, key, causal, scale);
    for (long batch = 0; batch < query.size(0); batch++) {
      Sequence q = read(query, batch, 0);
      Sequence k = read(key, batch, 1);
      Sequence v = read(value, batch, 2);
      Sequence y = place(out, batch, 3);
      try (var sums = context.of(logSumExp).select(0, batch)) {
        for (long row = 0; row < sizes.queries; row += sizes.rows) {
          for (long head = 0; head < sizes.heads; head += sizes.headsAtOnce) {
            forwardBlock(sizes, block(sizes, row, head), q, k, v, y, sums);
          }
        }
      }
      write(out, batch, 3);
    }
  }

  private static Block block(Sizes sizes, long row, long head) {
    return new Block(
        row,
        Math.min(sizes.rows, sizes.queries - row),
        head,
        Math.min(sizes.headsAtOnce, sizes.heads - head));
  }

  private void forwardBlock(
      Sizes sizes,
      Block block,
      Sequence q,
      Sequence k,
      Sequence v,
      Sequence y,
      org.bytedeco.pytorch.Tensor logSumExp) {
    long keys = sizes.keysOf(block);
    var scores = scores(sizes, block, q, k);
    var largest = largestMemory.get(DType.FLOAT32, block.heads, block.rows, 1);
    var sum = sumMemory.get(DType.FLOAT32, block.heads, block.rows, 1);
    torch.amax_out(largest, scores, INNERMOST, true);
    scores.sub_(largest);
    scores.exp_();
    torch.sum_out(sum, scores, INNERMOST, true, context.type(DType.FLOAT32));
    long matrix = Float.BYTES * block.rows * keys;
    for (long i = 0; i < block.heads; i++) {
      long head = block.firstHead + i;
      // out = P V
      blas.multiply(
          false,
          false,
          block.rows,
          sizes.width,
          keys,
          1,
          scores.data_ptr().address() + i * matrix,
          keys,
          v.at(0, head / sizes.ratio),
          v.positionStride,
          0,
          y.at(block.firstRow, head),
          y.positionStride);
    }
    try (var outRows = rows(y, block, sizes.width);
        var factors = sum.transpose(0, 1);
        var someHeads = logSumExp.narrow(0, block.firstHead, block.heads);
        var target = someHeads.narrow(1, block.firstRow, block.rows);
        var column = target.unsqueeze(2)) {
      outRows.div_(factors);
      sum.log_();
      torch.add_out(column, largest, sum);
    }
  }

  /** The block's scores, masked where it is causal: [heads, rows, keys]. */
  private org.bytedeco.pytorch.Tensor scores(Sizes sizes, Block block, Sequence q, Sequence k) {
    long keys = sizes.keysOf(block);
    var scores = scoreMemory.get(DType.FLOAT32, block.heads, block.rows, keys);
    long address = scores.data_ptr().address();
    for (long i = 0; i < block.heads; i++) {
      long head = block.firstHead + i;
      blas.multiply(
          false,
          true,
          block.rows,
          keys,
          sizes.width,
          sizes.scale,
          q.at(block.firstRow, head),
          q.positionStride,
          k.at(0, head / sizes.ratio),
          k.positionStride,
          0,
          address + i * Float.BYTES * block.rows * keys,
          keys);
    }
    if (sizes.causal) {
      try (var diagonal = scores.narrow(2, block.firstRow, block.rows)) {
        diagonal.add_(mask(block.rows));
      }
    }
    return scores;
  }

  /** Minus infinity above the diagonal, 0 elsewhere. */
  private org.bytedeco.pytorch.Tensor mask(long rows) {
    var mask = maskMemory.get(DType.FLOAT32, rows, rows);
    if (maskRows != rows) {
      mask.fill_(context.scalar(Double.NEGATIVE_INFINITY));
      mask.triu_(1);
      maskRows = rows;
    }
    return mask;
  }

  void backward(
      Tensor dOut,
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      double scale,
      Tensor out,
      Tensor logSumExp,
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue) {
    check("attentionBackward", query, key, value, causal, out, logSumExp);
    Arguments.floating("attentionBackward", query, dOut, dQuery, dKey, dValue);
    Arguments.sameShape("attentionBackward", out, dOut, dQuery);
    Arguments.sameShape("attentionBackward", key, dKey, dValue);
    Arguments.denseRows("attentionBackward", dOut, dQuery, dKey, dValue);
    if (out.elementCount() == 0 || key.elementCount() == 0) {
      context.of(dQuery).zero_();
      context.of(dKey).zero_();
      context.of(dValue).zero_();
      return;
    }
    Sizes sizes = Sizes.of(query, key, causal, scale);
    for (long batch = 0; batch < query.size(0); batch++) {
      Operands operands =
          new Operands(
              read(query, batch, 0),
              read(key, batch, 1),
              read(value, batch, 2),
              read(out, batch, 3),
              read(dOut, batch, 4),
              place(dQuery, batch, 5),
              place(dKey, batch, 6),
              place(dValue, batch, 7));
      try (var sums = context.of(logSumExp).select(0, batch)) {
        // The last block of a causal sequence sees all keys: it begins the sums of dK and dV.
        long lastRow = (sizes.queries - 1) / sizes.rows * sizes.rows;
        for (long row = lastRow; row >= 0; row -= sizes.rows) {
          for (long head = 0; head < sizes.heads; head += sizes.headsAtOnce) {
            backwardBlock(sizes, block(sizes, row, head), row == lastRow, operands, sums);
          }
        }
      }
      write(dQuery, batch, 5);
      write(dKey, batch, 6);
      write(dValue, batch, 7);
    }
  }

  /** One sequence of everything that backward reads and writes. */
  private record Operands(
      Sequence q,
      Sequence k,
      Sequence v,
      Sequence y,
      Sequence dY,
      Sequence dQ,
      Sequence dK,
      Sequence dV) {}

  private void backwardBlock(
      Sizes sizes,
      Block block,
      boolean isFirstBlock,
      Operands on,
      org.bytedeco.pytorch.Tensor logSumExp) {
    long keys = sizes.keysOf(block);
    var weights = scores(sizes, block, on.q, on.k);
    try (var someHeads = logSumExp.narrow(0, block.firstHead, block.heads);
        var someRows = someHeads.narrow(1, block.firstRow, block.rows);
        var column = someRows.unsqueeze(2)) {
      weights.sub_(column);
      weights.exp_();
    }
    var slopes = slopeMemory.get(DType.FLOAT32, block.heads, block.rows, keys);
    long weightAddress = weights.data_ptr().address();
    long slopeAddress = slopes.data_ptr().address();
    long matrix = Float.BYTES * block.rows * keys;
    for (long i = 0; i < block.heads; i++) {
      long head = block.firstHead + i;
      long keyHead = head / sizes.ratio;
      int sumSoFar = isFirstBlock && head % sizes.ratio == 0 ? 0 : 1;
      // dV += P^T dO
      blas.multiply(
          true,
          false,
          keys,
          sizes.width,
          block.rows,
          1,
          weightAddress + i * matrix,
          keys,
          on.dY.at(block.firstRow, head),
          on.dY.positionStride,
          sumSoFar,
          on.dV.at(0, keyHead),
          on.dV.positionStride);
      // dP = dO V^T
      blas.multiply(
          false,
          true,
          block.rows,
          keys,
          sizes.width,
          1,
          on.dY.at(block.firstRow, head),
          on.dY.positionStride,
          on.v.at(0, keyHead),
          on.v.positionStride,
          0,
          slopeAddress + i * matrix,
          keys);
    }
    subtractDelta(sizes, block, on, slopes);
    slopes.mul_(weights);
    for (long i = 0; i < block.heads; i++) {
      long head = block.firstHead + i;
      long keyHead = head / sizes.ratio;
      int sumSoFar = isFirstBlock && head % sizes.ratio == 0 ? 0 : 1;
      // dQ = scale dS K
      blas.multiply(
          false,
          false,
          block.rows,
          sizes.width,
          keys,
          sizes.scale,
          slopeAddress + i * matrix,
          keys,
          on.k.at(0, keyHead),
          on.k.positionStride,
          0,
          on.dQ.at(block.firstRow, head),
          on.dQ.positionStride);
      // dK += scale dS^T Q
      blas.multiply(
          true,
          false,
          keys,
          sizes.width,
          block.rows,
          sizes.scale,
          slopeAddress + i * matrix,
          keys,
          on.q.at(block.firstRow, head),
          on.q.positionStride,
          sumSoFar,
          on.dK.at(0, keyHead),
          on.dK.positionStride);
    }
  }

  /** dP - D, where D is the sum of dO * O over a row's width. */
  private void subtractDelta(
      Sizes sizes, Block block, Operands on, org.bytedeco.pytorch.Tensor slopes) {
    var products = productMemory.get(DType.FLOAT32, block.rows, block.heads, sizes.width);
    var delta = deltaMemory.get(DType.FLOAT32, block.rows, block.heads, 1);
    try (var y = rows(on.y, block, sizes.width);
        var dY = rows(on.dY, block, sizes.width);
        var column = delta.transpose(0, 1)) {
      torch.mul_out(products, y, dY);
      torch.sum_out(delta, products, INNERMOST, true, context.type(DType.FLOAT32));
      slopes.sub_(column);
    }
  }

  /** A block's part of a sequence: [rows, heads, width]; the caller closes it. */
  private org.bytedeco.pytorch.Tensor rows(Sequence sequence, Block block, long width) {
    return context.strided(
        sequence.at(block.firstRow, block.firstHead),
        DType.FLOAT32,
        new long[] {block.rows, block.heads, width},
        new long[] {sequence.positionStride, sequence.headStride, 1});
  }

  /** A sequence to be read, widened where it is not FLOAT32. */
  private Sequence read(Tensor tensor, long batch, int number) {
    Sequence sequence = place(tensor, batch, number);
    if (tensor.dtype() != DType.FLOAT32) {
      try (var narrow = context.of(tensor).select(0, batch)) {
        widened(tensor, number).copy_(narrow);
      }
    }
    return sequence;
  }

  /** Where a sequence lies, or its FLOAT32 copy will. */
  private Sequence place(Tensor tensor, long batch, int number) {
    if (tensor.dtype() == DType.FLOAT32) {
      context.of(tensor);
      return new Sequence(
          tensor.address() + Float.BYTES * batch * tensor.stride(0),
          tensor.stride(1),
          tensor.stride(2));
    }
    long width = tensor.size(3);
    return new Sequence(
        widened(tensor, number).data_ptr().address(), tensor.size(2) * width, width);
  }

  private org.bytedeco.pytorch.Tensor widened(Tensor tensor, int number) {
    return wide[number].get(DType.FLOAT32, tensor.size(1), tensor.size(2), tensor.size(3));
  }

  /** Rounds a sequence that was computed beside its place. */
  private void write(Tensor tensor, long batch, int number) {
    if (tensor.dtype() != DType.FLOAT32) {
      try (var narrow = context.of(tensor).select(0, batch)) {
        narrow.copy_(widened(tensor, number));
      }
    }
  }

  private static void check(
      String kernel,
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      Tensor out,
      Tensor logSumExp) {
    Arguments.floating(kernel, query, key, value, out);
    Arguments.type(kernel, DType.FLOAT32, logSumExp);
    Arguments.sameShape(kernel, query, out);
    Arguments.sameShape(kernel, key, value);
    if (query.shape().rank() != 4
        || key.shape().rank() != 4
        || query.size(0) != key.size(0)
        || query.size(3) != key.size(3)
        || key.size(2) == 0
        || query.size(2) % key.size(2) != 0) {
      throw Arguments.unfit(
          kernel,
          "query [b, t, h, d] and key and value [b, s, g, d] with h a multiple of g",
          query,
          key,
          value);
    }
    if (causal && query.size(1) != key.size(1)) {
      throw Arguments.unfit(kernel, "as many queries as keys where it is causal", query, key);
    }
    if (logSumExp.shape().rank() != 3
        || logSumExp.size(0) != query.size(0)
        || logSumExp.size(1) != query.size(2)
        || logSumExp.size(2) != query.size(1)) {
      throw Arguments.unfit(kernel, "logSumExp [b, h, t] of query [b, t, h, d]", logSumExp, query);
    }
    Arguments.denseRows(kernel, query, key, value, out, logSumExp);
  }
}
