package dev.phalanx.tensor;

import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * The kernels that a tensor library provides: everything above knows tensors only through this
 * interface.
 *
 * <p>Rules that hold for every kernel:
 *
 * <ul>
 *   <li>Results are written into tensors that the caller provides; a kernel keeps no memory of its
 *       own that grows. An output must not overlap an input unless the method says so.
 *   <li>All tensors lie on one device; {@link #copy} alone crosses devices. Kernels may return
 *       before the work is done: they run in the order of their calls on the device's queue, and
 *       {@link #synchronize} waits for it. Reading a tensor's bytes on the host needs a {@link
 *       #synchronize} before.
 *   <li>Tensors are contiguous unless the method says that strided views are welcome. Sizes may be
 *       zero.
 *   <li>Floating-point tensors of one call share a type unless the method says otherwise; sums are
 *       kept in fp32 or better.
 *   <li>{@code accumulate}: add to what the output holds instead of replacing it. Where it is false
 *       the output's old bytes are not read, so they may be anything.
 *   <li>Shapes that do not fit, wrong types and tensors of other devices are an {@link
 *       IllegalArgumentException} that names the kernel and the shapes.
 * </ul>
 *
 * <p>One engine serves one rank and is called by one thread at a time; engines of several ranks may
 * run at once in one JVM. The letters in shapes: n rows (tokens), d width, b batch, t positions, h
 * query heads, g key and value heads (h is a multiple of g), v vocabulary.
 */
public interface Engine extends AutoCloseable {
  /** The name that plan files use. */
  String name();

  /** The library and its version, for reports and error messages. */
  String description();

  /** Whether the engine can compute on this device here and now. */
  boolean supports(Device device);

  /** Whether the kernels take this type for the values of a model. */
  boolean supports(DType dtype);

  // ----------------------------------------------------------------------------------------------
  // memory

  /**
   * A new block of at least {@code bytes}, aligned to 64 bytes, its content anything.
   *
   * @throws OutOfNativeMemoryException where there is no room
   */
  Storage allocate(Device device, long bytes);

  /**
   * The memory of a direct buffer (a mapped file, say) as a block on the CPU, without a copy; the
   * buffer is kept alive.
   */
  Storage wrap(ByteBuffer direct);

  /** Waits until everything called so far on this device is done. */
  void synchronize(Device device);

  /**
   * Copies all elements into a tensor of the same shape, converting the type where it differs
   * (round to nearest even) and crossing devices where they differ. Strided views are welcome on
   * both sides.
   */
  void copy(Tensor source, Tensor destination);

  /** Sets every element. Strided views are welcome. */
  void fill(Tensor tensor, double value);

  // ----------------------------------------------------------------------------------------
  // element by element

  /**
   * {@code out = a + b}; {@code out} may be {@code a} or {@code b}. {@code b} may be a row [d]
   * under {@code a} [.., d].
   */
  void add(Tensor a, Tensor b, Tensor out);

  /** {@code y += alpha * x}. The types may differ; strided views are welcome. */
  void addScaled(double alpha, Tensor x, Tensor y);

  /** {@code x *= alpha}. */
  void scale(Tensor x, double alpha);

  /** {@code out = a * b}; {@code out} may be {@code a} or {@code b}. */
  void multiply(Tensor a, Tensor b, Tensor out);

  // ------------------------------------------------------------------------------------------------ reductions

  /** The sum of all elements into the one element of {@code out} (FLOAT32 or FLOAT64). */
  void sum(Tensor x, Tensor out);

  /**
   * The sum over rows: x [n, d] into out [d]. {@code out} may be FLOAT32 under a narrower {@code
   * x}.
   */
  void sumRows(Tensor x, Tensor out, boolean accumulate);

  /**
   * The sum of the squares of all elements into the one element of {@code out} (FLOAT32 or
   * FLOAT64).
   */
  void squaredNorm(Tensor x, Tensor out);

  /** Whether all elements are finite numbers. Waits for the device. */
  boolean allFinite(Tensor x);

  // -------------------------------------------------------------------------------------------
  // matrix products

  /**
   * {@code out = alpha * op(a) * op(b) + (accumulate ? out : 0)}, where op transposes as asked.
   *
   * @param a [m, k], or [k, m] where {@code transposeA}
   * @param b [k, n], or [n, k] where {@code transposeB}
   * @param out [m, n]; FLOAT32 is welcome under narrower factors (gradients of weights)
   */
  void matmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate);

  /**
   * {@link #matmul} for each entry of the outermost dimension: a [b, m, k], b [b, k, n], out [b, m,
   * n].
   */
  void batchedMatmul(
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out,
      double alpha,
      boolean accumulate);

  /**
   * {@code out = x * weight^T + bias + residual}.
   *
   * @param x [n, in]
   * @param weight [out, in]
   * @param bias [out], contiguous, or null
   * @param residual [n, out] or null
   * @param out [n, out]; may be {@code residual}
   */
  void linear(
      Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out);

  // ----------------------------------------------------------------------------------------------
  // activations

  /** {@code out = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))} (Hendrycks and Gimpel, 2016). */
  void gelu(Tensor x, Tensor out);

  /** {@code dx = dy * gelu'(x)}; {@code dx} may be {@code dy}. */
  void geluBackward(Tensor dy, Tensor x, Tensor dx);

  /** {@code out = x * sigmoid(x)}. */
  void silu(Tensor x, Tensor out);

  /** {@code dx = dy * silu'(x)}; {@code dx} may be {@code dy}. */
  void siluBackward(Tensor dy, Tensor x, Tensor dx);

  /**
   * {@code out = silu(gate) * up} (Shazeer, 2020). {@code gate} and {@code up} [n, d] may be
   * strided views.
   */
  void swiGlu(Tensor gate, Tensor up, Tensor out);

  /**
   * Gradients of {@link #swiGlu} into {@code dGate} and {@code dUp}, which may be strided views.
   */
  void swiGluBackward(Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp);

  /**
   * Inverted dropout: element i is kept and divided by {@code 1 - probability} where {@code
   * unit(seed, firstIndex + i) >= probability}, else zero, with the generator of {@link
   * CounterRandom}. The same call on the gradient is its backward. {@code out} may be {@code x}.
   */
  void dropout(Tensor x, double probability, long seed, long firstIndex, Tensor out);

  // ---------------------------------------------------------------------------------------------------- norms

  /**
   * {@code out = (x - mean) / sqrt(variance + epsilon) * weight + bias} for each row (Ba et al.,
   * 2016).
   *
   * @param x [n, d]
   * @param weight [d]
   * @param bias [d]
   * @param mean [n] FLOAT32, kept for the backward
   * @param rstd [n] FLOAT32, one over the deviation, kept for the backward
   */
  void layerNorm(
      Tensor x, Tensor weight, Tensor bias, double epsilon, Tensor out, Tensor mean, Tensor rstd);

  /**
   * Gradients of {@link #layerNorm}.
   *
   * @param dx [n, d], replaced or added to as {@code accumulateInput} says
   * @param dWeight [d], dBias [d]: may be FLOAT32 under a narrower {@code x}; as {@code
   *     accumulateParameters} says
   */
  void layerNormBackward(
      Tensor dy,
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor rstd,
      Tensor dx,
      boolean accumulateInput,
      Tensor dWeight,
      Tensor dBias,
      boolean accumulateParameters);

  /**
   * {@code out = x / sqrt(mean(x^2) + epsilon) * weight} for each row (Zhang and Sennrich, 2019);
   * rstd [n] FLOAT32.
   */
  void rmsNorm(Tensor x, Tensor weight, double epsilon, Tensor out, Tensor rstd);

  /** Gradients of {@link #rmsNorm}; see {@link #layerNormBackward}. */
  void rmsNormBackward(
      Tensor dy,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      Tensor dx,
      boolean accumulateInput,
      Tensor dWeight,
      boolean accumulateParameters);

  // ------------------------------------------------------------------------------------ embedding
  // and position

  /**
   * Rows by number: {@code out[i] = table[ids[i]]}.
   *
   * @param table [v, d]
   * @param ids [n] INT64, each from 0 to v - 1
   * @param out [n, d]
   */
  void gatherRows(Tensor table, Tensor ids, Tensor out, boolean accumulate);

  /**
   * Adds rows by number: {@code table[ids[i]] += rows[i]}, in the order of i where numbers repeat.
   * {@code table} may be FLOAT32 under narrower rows. The rest of the table stays as it is.
   */
  void scatterAddRows(Tensor rows, Tensor ids, Tensor table);

  /**
   * {@link #gatherRows} from some rows of a larger table: {@code out[i] = table[ids[i] -
   * firstRow]}, or zeros where that row is not among these.
   *
   * @param table [v, d], rows {@code firstRow} to {@code firstRow + v - 1} of the larger one
   * @param ids [n] INT64, at least 0
   * @param out [n, d]
   */
  void gatherRowsWithin(Tensor table, long firstRow, Tensor ids, Tensor out);

  /**
   * {@link #scatterAddRows} to some rows of a larger table; what belongs to others is left out.
   *
   * @param table [v, d] FLOAT32, rows {@code firstRow} to {@code firstRow + v - 1} of the larger
   *     one
   */
  void scatterAddRowsWithin(Tensor rows, Tensor ids, Tensor table, long firstRow);

  /**
   * Rotary position embedding (Su et al., 2021) in the layout of Hugging Face's Llama: with u the
   * first and w the second half of a head, {@code out = (u cos - w sin, w cos + u sin)}.
   *
   * @param x [b, t, h, d], d even; strided views are welcome
   * @param cosine [t, d / 2] FLOAT32, the rows of these positions
   * @param sine [t, d / 2] FLOAT32
   * @param inverse turn back (the backward of the forward)
   * @param out [b, t, h, d]; may be {@code x}; strided views are welcome
   */
  void rotary(Tensor x, Tensor cosine, Tensor sine, boolean inverse, Tensor out);

  // ------------------------------------------------------------------------------------------------- attention

  /**
   * Softmax attention without a materialised score matrix (Dao et al., 2022), query head i reading
   * key and value head {@code i / (h / g)}.
   *
   * @param query [b, t, h, d]; this and the next two may be strided views whose innermost stride is
   *     1
   * @param key [b, s, g, d]
   * @param value [b, s, g, d]
   * @param causal position i of t sees positions 0..i; t must equal s
   * @param scale the factor of the scores
   * @param out [b, t, h, d]
   * @param logSumExp [b, h, t] FLOAT32, kept for the backward
   */
  void attention(
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      double scale,
      Tensor out,
      Tensor logSumExp);

  /**
   * Gradients of {@link #attention} into dQuery, dKey and dValue, which may be strided views as
   * their namesakes.
   */
  void attentionBackward(
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
      Tensor dValue);

  /**
   * Attention over some keys joined with attention over others, as if it had been over all of them:
   * each result counts by how much of the softmax its keys have (Liu et al., 2023, "Ring Attention
   * with Blockwise Transformers"). What begins as {@code out} 0 and {@code logSumExp} minus
   * infinity becomes the part itself.
   *
   * @param out [b, t, h, d] FLOAT32; this and the next may be strided views whose innermost stride
   *     is 1
   * @param logSumExp [b, h, t] FLOAT32
   * @param partOut [b, t, h, d], what {@link #attention} has made of other keys
   * @param partLogSumExp [b, h, t] FLOAT32
   */
  void mergeAttention(Tensor out, Tensor logSumExp, Tensor partOut, Tensor partLogSumExp);

  // ------------------------------------------------------------------------------------------
  // softmax and loss

  /** The softmax over the innermost dimension; {@code out} may be {@code x}. */
  void softmax(Tensor x, Tensor out);

  /**
   * Cross-entropy of each row. One copy of the logits serves forward and backward: afterwards
   * {@code logits} holds what this engine's {@link #crossEntropyBackward} needs (log-probabilities,
   * say, or still the logits), and nobody else may read it.
   *
   * @param logits [n, v]
   * @param targets [n] INT64, from 0 to v - 1, or negative: a row without a target, its loss is 0
   * @param losses [n] FLOAT32
   */
  void crossEntropy(Tensor logits, Tensor targets, Tensor losses);

  /**
   * The gradient of {@link #crossEntropy} in place: {@code scale * (softmax(logits) -
   * onehot(target))}, zero in rows without a target, each element as exact as its type allows.
   *
   * @param logits [n, v], as {@link #crossEntropy} has left them
   */
  void crossEntropyBackward(Tensor logits, Tensor targets, double scale);

  /** The largest element of each row: x [n, v] into maxima [n] FLOAT32. */
  void rowMaxima(Tensor x, Tensor maxima);

  /**
   * {@link #crossEntropy} where only some columns of the logits are here (Shoeybi et al., 2019,
   * "Megatron-LM", 3): this part's share of what the rows' losses are made of. As there, {@code
   * logits} then holds what {@link #crossEntropyPartBackward} needs.
   *
   * @param logits [n, v], columns {@code firstColumn} to {@code firstColumn + v - 1} of all
   * @param targets [n] INT64 among all columns, or negative: a row without a target
   * @param maxima [n] FLOAT32, of the rows with all their columns
   * @param sums [n] FLOAT32: gets the sum of {@code exp(logit - maximum)} over these columns
   * @param picked [n] FLOAT32: gets {@code logit - maximum} of the target if it is one of these
   *     columns, else 0
   */
  void crossEntropyPart(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums, Tensor picked);

  /**
   * The losses from what all parts have added up: {@code log(sum) - picked}, 0 in rows without a
   * target. All [n] FLOAT32.
   */
  void crossEntropyOfParts(Tensor sums, Tensor picked, Tensor targets, Tensor losses);

  /**
   * {@link #crossEntropyBackward} of one part, in place.
   *
   * @param logits [n, v], as {@link #crossEntropyPart} has left them
   * @param sums [n] FLOAT32, of all parts
   */
  void crossEntropyPartBackward(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums, double scale);

  // ------------------------------------------------------------------------------------------------ optimizers

  /**
   * {@link AdamW} on flat memory.
   *
   * @param parameters [n] FLOAT32 (the master copy)
   * @param gradients [n] FLOAT32, not changed
   * @param firstMoments [n] FLOAT32
   * @param secondMoments [n] FLOAT32
   */
  void adamW(
      AdamW update, Tensor parameters, Tensor gradients, Tensor firstMoments, Tensor secondMoments);

  /**
   * Stochastic gradient descent on flat memory, in this order per element: {@code g = gradientScale
   * * g + weightDecay * p}; with momentum {@code m = momentum * m + g} (m starts at 0), {@code g =
   * nesterov ? g + momentum * m : m}; {@code p -= learningRate * g}.
   *
   * @param momenta [n] FLOAT32, or null where there is no momentum
   */
  void sgd(Sgd update, Tensor parameters, Tensor gradients, @Nullable Tensor momenta);

  @Override
  void close();
}
