package dev.phalanx.engine.host;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;

/**
 * Attention as products of matrices over blocks of queries: the scores of one block stay in cache
 * from the first product to the last, and backward computes them again from the row's logarithm of
 * summed exponentials instead of reading them back (Dao et al., FlashAttention, 2022). The
 * softmax's rows are not divided: where the products come from a good library that saves the
 * corrections between blocks of keys, and a causal block meets no key behind its last query.
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
 * <p>Products go by tiles of so many keys that a sequence of any length needs few forms of them.
 * Factors of BFLOAT16 are multiplied as they are where {@link Gemm} can: then P and dS are rounded
 * to it for their products, as FlashAttention does. Sums and exponentials are of FLOAT32.
 *
 * <p>What is no product is the engine's: {@link AttentionArithmetic}.
 */
public final class BlockAttention {
  /** Fewer rows leave out more of the square above the diagonal, but make slower products. */
  private static final long ROWS = 64;

  /**
   * Scores at once, where one head's are not more: two tensors of so many FLOAT32 lie in the
   * second-level cache.
   */
  private static final long SCORES = 128 * 1024;

  private static final long TILE_KEYS = 256;

  /** Sizes of tiles are multiples of it, or BFLOAT16 is widened. */
  private static final long WHOLE = 64;

  private final AttentionArithmetic arithmetic;
  private final Gemm gemm;
  private final BlasVectors vectors = new BlasVectors();
  private final FloatAddress logSums = new FloatAddress();
  private final FloatAddress partLogSums = new FloatAddress();

  public BlockAttention(AttentionArithmetic arithmetic, Gemm gemm) {
    this.arithmetic = arithmetic;
    this.gemm = gemm;
  }

  /** One sequence of a tensor [b, t, h, d]: where it lies and how it steps. */
  public record Sequence(DType type, long address, long positionStride, long headStride) {
    /** A sequence of a tensor as it is. */
    public static Sequence of(Tensor tensor, long batch) {
      return new Sequence(
          tensor.dtype(),
          HostTensors.open(tensor).address() + tensor.dtype().bytes(batch * tensor.stride(0)),
          tensor.stride(1),
          tensor.stride(2));
    }

    /** Where a position's head begins. */
    public long at(long position, long head) {
      return address + type.bytes(position * positionStride + head * headStride);
    }

    private ProductForm.Factor factor(boolean isTransposed) {
      return new ProductForm.Factor(type, isTransposed, positionStride);
    }
  }

  /** A matrix [rows, keys] for each head of a block, one after the other. */
  private record Matrices(DType type, long address, Block block) {
    long at(long head, long key) {
      return address + type.bytes(head * block.rows * block.stride + key);
    }

    private ProductForm.Factor factor(boolean isTransposed) {
      return new ProductForm.Factor(type, isTransposed, block.stride);
    }
  }

  /**
   * What a call works on.
   *
   * @param rows queries of a block
   * @param headsAtOnce heads whose scores are in memory together
   * @param ratio query heads that share a key head
   * @param isNarrow whether factors are of BFLOAT16
   */
  private record Sizes(
      long queries,
      long keys,
      long heads,
      long width,
      long ratio,
      long rows,
      long headsAtOnce,
      long stride,
      boolean causal,
      double scale,
      boolean isNarrow) {
    static Sizes of(
        Tensor query, Tensor key, Tensor value, boolean causal, double scale, Gemm gemm) {
      long keys = key.size(1);
      long rows = Math.min(query.size(1), ROWS);
      // Whole tiles: sequences of about the same length have rows of one length.
      long stride = (keys + TILE_KEYS - 1) / TILE_KEYS * TILE_KEYS;
      return new Sizes(
          query.size(1),
          keys,
          query.size(2),
          query.size(3),
          query.size(2) / key.size(2),
          rows,
          Math.max(1, Math.min(query.size(2), SCORES / (rows * keys))),
          stride,
          causal,
          scale,
          query.dtype() == DType.BFLOAT16
              && query.size(1) % WHOLE == 0
              && keys % WHOLE == 0
              && query.size(3) % WHOLE == 0
              && multipliesNarrow(query, key, value, stride, scale, gemm));
    }

    /** Whether there are products of BFLOAT16: those of the smallest tile tell. */
    private static boolean multipliesNarrow(
        Tensor query, Tensor key, Tensor value, long stride, double scale, Gemm gemm) {
      long width = query.size(3);
      var q = new ProductForm.Factor(DType.BFLOAT16, false, query.stride(1));
      var k = new ProductForm.Factor(DType.BFLOAT16, true, key.stride(1));
      var v = new ProductForm.Factor(DType.BFLOAT16, false, value.stride(1));
      var weights = new ProductForm.Factor(DType.BFLOAT16, false, stride);
      var turned = new ProductForm.Factor(DType.BFLOAT16, true, stride);
      var scores = new ProductForm.Result(DType.FLOAT32, stride, (float) scale, false, false);
      var out = new ProductForm.Result(DType.FLOAT32, query.size(2) * width, 1, false, false);
      var sum = new ProductForm.Result(DType.FLOAT32, key.size(2) * width, 1, true, false);
      return gemm.multiplies(new ProductForm(WHOLE, WHOLE, width, q, k, scores))
          && gemm.multiplies(new ProductForm(WHOLE, width, WHOLE, weights, v, out))
          && gemm.multiplies(new ProductForm(WHOLE, width, WHOLE, turned, q, sum));
    }

    Block block(long firstRow, long firstHead) {
      long some = Math.min(rows, queries - firstRow);
      return new Block(
          firstRow,
          some,
          firstHead,
          Math.min(headsAtOnce, heads - firstHead),
          causal ? firstRow + some : keys,
          stride,
          causal);
    }
  }

  /**
   * Some queries of some heads.
   *
   * @param keys that they see; where it is causal, the row of number r in the block sees all but
   *     the last {@code rows - 1 - r}
   * @param stride numbers from one row's scores to the next one's, the same for all blocks of a
   *     sequence, so that the forms of products are few; behind the keys lies nothing
   */
  public record Block(
      long firstRow,
      long rows,
      long firstHead,
      long heads,
      long keys,
      long stride,
      boolean isCausal) {
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
    Sizes sizes = Sizes.of(query, key, value, causal, scale, gemm);
    for (long batch = 0; batch < query.size(0); batch++) {
      Sequence q = factor(sizes, query, batch, 0);
      Sequence k = factor(sizes, key, batch, 1);
      Sequence v = factor(sizes, value, batch, 2);
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

  /** A sequence that products read. */
  private Sequence factor(Sizes sizes, Tensor tensor, long batch, int number) {
    return sizes.isNarrow ? Sequence.of(tensor, batch) : arithmetic.read(tensor, batch, number);
  }

  private void forwardBlock(
      Sizes sizes, Block block, Sequence q, Sequence k, Sequence v, Sequence y) {
    Matrices scores = new Matrices(DType.FLOAT32, arithmetic.scores(block), block);
    againstKeys(sizes, q, k, sizes.scale, scores); // S = scale Q K^T
    arithmetic.exponentials(block);
    overKeys(sizes, scoreFactors(sizes, scores), v, 1, y); // out = P V
    arithmetic.finish(block, y, sizes.width);
  }

  private Matrices scoreFactors(Sizes sizes, Matrices scores) {
    return sizes.isNarrow
        ? new Matrices(DType.BFLOAT16, arithmetic.narrowScores(scores.block), scores.block)
        : scores;
  }

  private Matrices slopeFactors(Sizes sizes, Matrices slopes) {
    return sizes.isNarrow
        ? new Matrices(DType.BFLOAT16, arithmetic.narrowSlopes(slopes.block), slopes.block)
        : slopes;
  }

  /** {@code out [rows, keys] = scale left [rows, width] right [keys, width]^T}. */
  private void againstKeys(Sizes sizes, Sequence left, Sequence right, double scale, Matrices out) {
    Block block = out.block;
    for (long key = 0; key < block.keys; key += TILE_KEYS) {
      ProductForm form =
          new ProductForm(
              block.rows,
              Math.min(TILE_KEYS, block.keys - key),
              sizes.width,
              left.factor(false),
              right.factor(true),
              new ProductForm.Result(DType.FLOAT32, block.stride, (float) scale, false, false));
      for (long i = 0; i < block.heads; i++) {
        long head = block.firstHead + i;
        gemm.multiply(
            form, left.at(block.firstRow, head), right.at(key, head / sizes.ratio), out.at(i, key));
      }
    }
  }

  /** {@code out [rows, width] = scale left [rows, keys] right [keys, width]}. */
  private void overKeys(Sizes sizes, Matrices left, Sequence right, double scale, Sequence out) {
    Block block = left.block;
    for (long key = 0; key < block.keys; key += TILE_KEYS) {
      ProductForm form =
          new ProductForm(
              block.rows,
              sizes.width,
              Math.min(TILE_KEYS, block.keys - key),
              left.factor(false),
              right.factor(false),
              new ProductForm.Result(out.type, out.positionStride, (float) scale, key > 0, false));
      for (long i = 0; i < block.heads; i++) {
        long head = block.firstHead + i;
        gemm.multiply(
            form, left.at(i, key), right.at(key, head / sizes.ratio), out.at(block.firstRow, head));
      }
    }
  }

  /**
   * {@code out [keys, width] = scale left [rows, keys]^T right [rows, width]}, added to what is
   * there unless it is the first that a key's head is given.
   */
  private void toKeys(
      Sizes sizes,
      Matrices left,
      Sequence right,
      double scale,
      boolean isFirstBlock,
      Sequence out) {
    Block block = left.block;
    for (long key = 0; key < block.keys; key += TILE_KEYS) {
      long count = Math.min(TILE_KEYS, block.keys - key);
      ProductForm first = toKeys(sizes, left, right, count, scale, out, false);
      ProductForm next = toKeys(sizes, left, right, count, scale, out, true);
      for (long i = 0; i < block.heads; i++) {
        long head = block.firstHead + i;
        gemm.multiply(
            isFirstBlock && head % sizes.ratio == 0 ? first : next,
            left.at(i, key),
            right.at(block.firstRow, head),
            out.at(key, head / sizes.ratio));
      }
    }
  }

  private static ProductForm toKeys(
      Sizes sizes,
      Matrices left,
      Sequence right,
      long keys,
      double scale,
      Sequence out,
      boolean isAdded) {
    return new ProductForm(
        keys,
        sizes.width,
        left.block.rows,
        left.factor(true),
        right.factor(false),
        new ProductForm.Result(out.type, out.positionStride, (float) scale, isAdded, false));
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
    Sizes sizes = Sizes.of(query, key, value, causal, scale, gemm);
    for (long batch = 0; batch < query.size(0); batch++) {
      Sequence wideGradient = arithmetic.read(dOut, batch, 4);
      Operands operands =
          new Operands(
              factor(sizes, query, batch, 0),
              factor(sizes, key, batch, 1),
              factor(sizes, value, batch, 2),
              arithmetic.read(out, batch, 3),
              wideGradient,
              sizes.isNarrow ? Sequence.of(dOut, batch) : wideGradient,
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
      Sequence dYFactor,
      Sequence dQ,
      Sequence dK,
      Sequence dV) {}

  private void backwardBlock(Sizes sizes, Block block, boolean isFirstBlock, Operands on) {
    Matrices weights = new Matrices(DType.FLOAT32, arithmetic.scores(block), block);
    againstKeys(sizes, on.q, on.k, sizes.scale, weights);
    arithmetic.probabilities(block);
    toKeys(
        sizes, scoreFactors(sizes, weights), on.dYFactor, 1, isFirstBlock, on.dV); // dV += P^T dO
    Matrices slopes = new Matrices(DType.FLOAT32, arithmetic.slopes(block), block);
    againstKeys(sizes, on.dYFactor, on.v, 1, slopes); // dP = dO V^T
    arithmetic.slopesOfScores(block, on.y, on.dY, sizes.width);
    Matrices slopeFactors = slopeFactors(sizes, slopes);
    overKeys(sizes, slopeFactors, on.k, sizes.scale, on.dQ); // dQ = scale dS K
    toKeys(sizes, slopeFactors, on.q, sizes.scale, isFirstBlock, on.dK); // dK += scale dS^T Q
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
