package dev.phalanx.engine.host;

import dev.phalanx.tensor.Tensor;

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
 * <p>What is no product is the engine's: {@link AttentionArithmetic}.
 */
public final class BlockAttention {
  /** Fewer rows leave out more of the square above the diagonal, but make slower products. */
  private static final long MOST_ROWS = 64;

  private static final long FEWEST_ROWS = 32;

  /** Scores at once: two tensors of so many FLOAT32 lie in the second-level cache. */
  private static final long SCORES = 128 * 1024;

  private final AttentionArithmetic arithmetic;
  private final Sgemm blas;
  private final BlasVectors vectors = new BlasVectors();
  private final FloatAddress logSums = new FloatAddress();
  private final FloatAddress partLogSums = new FloatAddress();

  public BlockAttention(AttentionArithmetic arithmetic, Sgemm blas) {
    this.arithmetic = arithmetic;
    this.blas = blas;
  }

  /** One sequence of a tensor [b, t, h, d] in FLOAT32: where it lies and how it steps. */
  public record Sequence(long address, long positionStride, long headStride) {
    /** Where a position's head begins. */
    public long at(long position, long head) {
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

    Block block(long firstRow, long firstHead) {
      long some = Math.min(rows, queries - firstRow);
      return new Block(
          firstRow,
          some,
          firstHead,
          Math.min(headsAtOnce, heads - firstHead),
          causal ? firstRow + some : keys,
          causal);
    }
  }

  /**
   * Some queries of some heads.
   *
   * @param keys that they see; where it is causal, the row of number r in the block sees all but
   *     the last {@code rows - 1 - r}
   */
  public record Block(
      long firstRow, long rows, long firstHead, long heads, long keys, boolean isCausal) {
    /** Keys that a row of the block sees. */
    public long keysOfRow(long row) {
      return isCausal ? firstRow + row + 1 : keys;
    }
  }

  /** {@link dev.phalanx.tensor.Engine#attention}. */
  public void forward(
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      double scale,
      Tensor out,
      Tensor logSumExp) {
    EngineContract.attention(query, key, value, causal, out, logSumExp);
    if (out.elementCount() == 0) {
      return;
    }
    if (key.elementCount() == 0) {
      arithmetic.fill(out, 0);
      arithmetic.fill(logSumExp, Double.NEGATIVE_INFINITY);
      return;
    }
    Sizes sizes = Sizes.of(query, key, causal, scale);
    for (long batch = 0; batch < query.size(0); batch++) {
      Sequence q = arithmetic.read(query, batch, 0);
      Sequence k = arithmetic.read(key, batch, 1);
      Sequence v = arithmetic.read(value, batch, 2);
      Sequence y = arithmetic.place(out, batch, 3);
      arithmetic.begin(logSumExp, batch);
      for (long row = 0; row < sizes.queries; row += sizes.rows) {
        for (long head = 0; head < sizes.heads; head += sizes.headsAtOnce) {
          forwardBlock(sizes, sizes.block(row, head), q, k, v, y);
        }
      }
      arithmetic.end();
      arithmetic.write(out, batch, 3);
    }
  }

  private void forwardBlock(
      Sizes sizes, Block block, Sequence q, Sequence k, Sequence v, Sequence y) {
    long scores = scores(sizes, block, q, k);
    arithmetic.exponentials(block);
    long matrix = Float.BYTES * block.rows * block.keys;
    for (long i = 0; i < block.heads; i++) {
      long head = block.firstHead + i;
      // out = P V
      blas.multiply(
          false,
          false,
          block.rows,
          sizes.width,
          block.keys,
          1,
          scores + i * matrix,
          block.keys,
          v.at(0, head / sizes.ratio),
          v.positionStride,
          0,
          y.at(block.firstRow, head),
          y.positionStride);
    }
    arithmetic.finish(block, y, sizes.width);
  }

  /** Where the block's scores lie: [heads, rows, keys]. */
  private long scores(Sizes sizes, Block block, Sequence q, Sequence k) {
    long scores = arithmetic.scores(block);
    for (long i = 0; i < block.heads; i++) {
      long head = block.firstHead + i;
      blas.multiply(
          false,
          true,
          block.rows,
          block.keys,
          sizes.width,
          sizes.scale,
          q.at(block.firstRow, head),
          q.positionStride,
          k.at(0, head / sizes.ratio),
          k.positionStride,
          0,
          scores + i * Float.BYTES * block.rows * block.keys,
          block.keys);
    }
    return scores;
  }

  /** {@link dev.phalanx.tensor.Engine#attentionBackward}. */
  public void backward(
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
    EngineContract.attentionBackward(
        dOut, query, key, value, causal, out, logSumExp, dQuery, dKey, dValue);
    if (out.elementCount() == 0 || key.elementCount() == 0) {
      arithmetic.fill(dQuery, 0);
      arithmetic.fill(dKey, 0);
      arithmetic.fill(dValue, 0);
      return;
    }
    Sizes sizes = Sizes.of(query, key, causal, scale);
    for (long batch = 0; batch < query.size(0); batch++) {
      Operands operands =
          new Operands(
              arithmetic.read(query, batch, 0),
              arithmetic.read(key, batch, 1),
              arithmetic.read(value, batch, 2),
              arithmetic.read(out, batch, 3),
              arithmetic.read(dOut, batch, 4),
              arithmetic.place(dQuery, batch, 5),
              arithmetic.place(dKey, batch, 6),
              arithmetic.place(dValue, batch, 7));
      arithmetic.begin(logSumExp, batch);
      // The last block of a causal sequence sees all keys: it begins the sums of dK and dV.
      long lastRow = (sizes.queries - 1) / sizes.rows * sizes.rows;
      for (long row = lastRow; row >= 0; row -= sizes.rows) {
        for (long head = 0; head < sizes.heads; head += sizes.headsAtOnce) {
          backwardBlock(sizes, sizes.block(row, head), row == lastRow, operands);
        }
      }
      arithmetic.end();
      arithmetic.write(dQuery, batch, 5);
      arithmetic.write(dKey, batch, 6);
      arithmetic.write(dValue, batch, 7);
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

  private void backwardBlock(Sizes sizes, Block block, boolean isFirstBlock, Operands on) {
    long keys = block.keys;
    long weightAddress = scores(sizes, block, on.q, on.k);
    arithmetic.probabilities(block);
    long slopeAddress = arithmetic.slopes(block);
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
    arithmetic.slopesOfScores(block, on.y, on.dY, sizes.width);
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

  /** {@link dev.phalanx.tensor.Engine#mergeAttention}. */
  public void merge(Tensor out, Tensor logSumExp, Tensor partOut, Tensor partLogSumExp) {
    EngineContract.mergeAttention(out, logSumExp, partOut, partLogSumExp);
    if (out.elementCount() == 0) {
      return;
    }
    for (long batch = 0; batch < out.size(0); batch++) {
      Sequence y = arithmetic.place(out, batch, 0);
      Sequence part = arithmetic.read(partOut, batch, 1);
      for (long head = 0; head < out.size(2); head++) {
        logSums.moveTo(row(logSumExp, batch, head));
        partLogSums.moveTo(row(partLogSumExp, batch, head));
        for (long position = 0; position < out.size(1); position++) {
          mergeRow(position, y.at(position, head), part.at(position, head), out.size(3));
        }
      }
    }
  }

  private static long row(Tensor statistics, long batch, long head) {
    return statistics.address()
        + Float.BYTES * (batch * statistics.stride(0) + head * statistics.stride(1));
  }

  private void mergeRow(long position, long y, long part, long width) {
    double own = logSums.get(position);
    double others = partLogSums.get(position);
    if (others == Double.NEGATIVE_INFINITY) {
      return; // of no keys
    }
    double largest = Math.max(own, others);
    double all = largest + Math.log(Math.exp(own - largest) + Math.exp(others - largest));
    vectors.mix(Math.exp(others - all), part, Math.exp(own - all), y, width);
    logSums.put(position, (float) all);
  }
}
