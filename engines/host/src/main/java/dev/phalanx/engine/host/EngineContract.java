package dev.phalanx.engine.host;

import dev.phalanx.tensor.AdamW;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Sgd;
import dev.phalanx.tensor.Tensor;
import java.nio.LongBuffer;
import org.jspecify.annotations.Nullable;

/**
 * What {@link dev.phalanx.tensor.Engine} says of the arguments of its larger kernels: each method
 * refuses what its namesake may not be given. The smaller ones check with {@link Arguments} alone.
 */
public final class EngineContract {
  /** As many numbers of rows are read at once as a buffer of 2 GB holds with room to spare. */
  private static final long IDS_PIECE = 1 << 27;

  private EngineContract() {}

  // ----------------------------------------------------------------------------- element by
  // element

  public static void add(Tensor a, Tensor b, Tensor out) {
    Arguments.floating("add", a, b, out);
    Arguments.contiguous("add", a, b, out);
    Arguments.sameShape("add", a, out);
    if (!isRowUnder(a, b) && !a.shape().equals(b.shape())) {
      throw Arguments.unfit("add", "two tensors of one shape, or a row under the first", a, b, out);
    }
  }

  /** Whether {@code add} takes its second argument for a row. */
  public static boolean isRowUnder(Tensor a, Tensor b) {
    return b.shape().rank() == 1 && a.shape().rank() > 1 && b.size(0) == a.size(-1);
  }

  public static void swiGlu(Tensor gate, Tensor up, Tensor out) {
    Arguments.floating("swiGlu", gate, up, out);
    Arguments.sameShape("swiGlu", gate, up, out);
    Arguments.contiguous("swiGlu", out);
    matrix("swiGlu", gate);
  }

  public static void swiGluBackward(Tensor dy, Tensor gate, Tensor up, Tensor dGate, Tensor dUp) {
    Arguments.floating("swiGluBackward", dy, gate, up, dGate, dUp);
    Arguments.sameShape("swiGluBackward", dy, gate, up, dGate, dUp);
    Arguments.contiguous("swiGluBackward", dy);
    matrix("swiGluBackward", gate);
  }

  private static void matrix(String kernel, Tensor gate) {
    if (gate.shape().rank() != 2) {
      throw Arguments.unfit(kernel, "matrices [n, d]", gate);
    }
  }

  public static void dropout(Tensor x, double probability, Tensor out) {
    Arguments.alike("dropout", x, out);
    if (!(probability >= 0 && probability <= 1)) {
      throw new IllegalArgumentException(
          "dropout wants a probability from 0 to 1, not " + probability);
    }
  }

  // ------------------------------------------------------------------------------------ reductions

  /** {@code sum} and {@code squaredNorm}. */
  public static void total(String kernel, Tensor x, Tensor out) {
    Arguments.onCpu(kernel, x);
    Arguments.contiguous(kernel, x);
    Arguments.onCpu(kernel, out);
    if (out.elementCount() != 1 || (out.dtype() != DType.FLOAT32 && out.dtype() != DType.FLOAT64)) {
      throw Arguments.unfit(kernel, "one FLOAT32 or FLOAT64 for its result", x, out);
    }
  }

  public static void sumRows(Tensor x, Tensor out) {
    Arguments.floating("sumRows", x);
    Arguments.sameOrWider("sumRows", x, out);
    Arguments.contiguous("sumRows", x, out);
    if (x.shape().rank() != 2 || !Arguments.isVector(out, x.size(1))) {
      throw Arguments.unfit("sumRows", "x [n, d] and out [d]", x, out);
    }
  }

  // ------------------------------------------------------------------------------- matrix products

  public static void matmul(
      Tensor a, boolean transposeA, Tensor b, boolean transposeB, Tensor out) {
    Arguments.floating("matmul", a, b);
    Arguments.sameOrWider("matmul", a, out);
    Arguments.denseRows("matmul", a, b, out);
    if (a.shape().rank() != 2
        || b.shape().rank() != 2
        || out.shape().rank() != 2
        || !fit(a, transposeA, b, transposeB, out)) {
      throw unfit("matmul", "[m, k], [k, n] and [m, n]", a, transposeA, b, transposeB, out);
    }
  }

  public static void batchedMatmul(
      Tensor a, boolean transposeA, Tensor b, boolean transposeB, Tensor out) {
    Arguments.floating("batchedMatmul", a, b, out);
    Arguments.contiguous("batchedMatmul", a, b, out);
    if (a.shape().rank() != 3
        || b.shape().rank() != 3
        || out.shape().rank() != 3
        || a.size(0) != out.size(0)
        || b.size(0) != out.size(0)
        || !fit(a, transposeA, b, transposeB, out)) {
      throw unfit(
          "batchedMatmul", "[b, m, k], [b, k, n] and [b, m, n]", a, transposeA, b, transposeB, out);
    }
  }

  public static void linear(
      Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual, Tensor out) {
    Arguments.floating("linear", x, weight, out);
    Arguments.denseRows("linear", x, weight, out);
    if (x.shape().rank() != 2
        || weight.shape().rank() != 2
        || x.size(1) != weight.size(1)
        || !Arguments.isMatrix(out, x.size(0), weight.size(0))) {
      throw Arguments.unfit("linear", "x [n, in], weight [out, in], out [n, out]", x, weight, out);
    }
    if (bias != null) {
      Arguments.floating("linear", x, bias);
      Arguments.contiguous("linear", bias);
      if (!Arguments.isVector(bias, weight.size(0))) {
        throw Arguments.unfit("linear", "a bias [out] of weight [out, in]", bias, weight);
      }
    }
    if (residual != null) {
      Arguments.floating("linear", x, residual);
      Arguments.denseRows("linear", residual);
      Arguments.sameShape("linear", residual, out);
    }
  }

  private static boolean fit(
      Tensor a, boolean transposeA, Tensor b, boolean transposeB, Tensor out) {
    return a.size(transposeA ? -1 : -2) == out.size(-2)
        && b.size(transposeB ? -2 : -1) == out.size(-1)
        && a.size(transposeA ? -2 : -1) == b.size(transposeB ? -1 : -2);
  }

  private static IllegalArgumentException unfit(
      String kernel,
      String wanted,
      Tensor a,
      boolean transposeA,
      Tensor b,
      boolean transposeB,
      Tensor out) {
    String transposes =
        transposeA
            ? transposeB ? " after transposing both factors" : " after transposing the first"
            : transposeB ? " after transposing the second" : "";
    return Arguments.unfit(kernel, wanted + transposes, a, b, out);
  }

  // ----------------------------------------------------------------------------------------- norms

  public static void layerNorm(
      Tensor x, Tensor weight, Tensor bias, Tensor out, Tensor mean, Tensor rstd) {
    Arguments.alike("layerNorm", x, out);
    normParameters("layerNorm", x, weight, bias);
    normStatistics("layerNorm", x, mean, rstd);
  }

  public static void layerNormBackward(
      Tensor dy,
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor rstd,
      Tensor dx,
      Tensor dWeight,
      Tensor dBias) {
    Arguments.alike("layerNormBackward", x, dy, dx);
    normParameters("layerNormBackward", x, weight);
    normStatistics("layerNormBackward", x, mean, rstd);
    normGradients("layerNormBackward", x, dWeight, dBias);
  }

  public static void rmsNorm(Tensor x, Tensor weight, Tensor out, Tensor rstd) {
    Arguments.alike("rmsNorm", x, out);
    normParameters("rmsNorm", x, weight);
    normStatistics("rmsNorm", x, rstd);
  }

  public static void rmsNormBackward(
      Tensor dy, Tensor x, Tensor weight, Tensor rstd, Tensor dx, Tensor dWeight) {
    Arguments.alike("rmsNormBackward", x, dy, dx);
    normParameters("rmsNormBackward", x, weight);
    normStatistics("rmsNormBackward", x, rstd);
    normGradients("rmsNormBackward", x, dWeight);
  }

  private static void normParameters(String kernel, Tensor x, Tensor... parameters) {
    if (x.shape().rank() != 2) {
      throw Arguments.unfit(kernel, "rows x [n, d]", x);
    }
    for (Tensor parameter : parameters) {
      Arguments.floating(kernel, x, parameter);
      Arguments.contiguous(kernel, parameter);
      if (!Arguments.isVector(parameter, x.size(1))) {
        throw Arguments.unfit(kernel, "parameters [d] of x [n, d]", parameter, x);
      }
    }
  }

  private static void normGradients(String kernel, Tensor x, Tensor... gradients) {
    for (Tensor gradient : gradients) {
      Arguments.sameOrWider(kernel, x, gradient);
      Arguments.contiguous(kernel, gradient);
      if (!Arguments.isVector(gradient, x.size(1))) {
        throw Arguments.unfit(kernel, "parameters' gradients [d] of x [n, d]", gradient, x);
      }
    }
  }

  private static void normStatistics(String kernel, Tensor x, Tensor... statistics) {
    for (Tensor statistic : statistics) {
      Arguments.type(kernel, DType.FLOAT32, statistic);
      Arguments.contiguous(kernel, statistic);
      if (!Arguments.isVector(statistic, x.size(0))) {
        throw Arguments.unfit(kernel, "statistics [n] of x [n, d]", statistic, x);
      }
    }
  }

  // ------------------------------------------------------------------------- embedding and
  // position

  public static void gatherRows(Tensor table, Tensor ids, Tensor out) {
    Arguments.floating("gatherRows", table, out);
    rowsByNumber("gatherRows", table, ids, out);
    idsWithin("gatherRows", ids, table.size(0));
  }

  public static void scatterAddRows(Tensor rows, Tensor ids, Tensor table) {
    Arguments.floating("scatterAddRows", rows);
    Arguments.sameOrWider("scatterAddRows", rows, table);
    rowsByNumber("scatterAddRows", table, ids, rows);
    idsWithin("scatterAddRows", ids, table.size(0));
  }

  public static void gatherRowsWithin(Tensor table, Tensor ids, Tensor out) {
    Arguments.floating("gatherRowsWithin", table, out);
    rowsByNumber("gatherRowsWithin", table, ids, out);
  }

  public static void scatterAddRowsWithin(Tensor rows, Tensor ids, Tensor table) {
    Arguments.floating("scatterAddRowsWithin", rows);
    Arguments.type("scatterAddRowsWithin", DType.FLOAT32, table);
    rowsByNumber("scatterAddRowsWithin", table, ids, rows);
  }

  private static void rowsByNumber(String kernel, Tensor table, Tensor ids, Tensor rows) {
    Arguments.type(kernel, DType.INT64, ids);
    Arguments.contiguous(kernel, table, ids, rows);
    if (table.shape().rank() != 2
        || ids.shape().rank() != 1
        || !Arguments.isMatrix(rows, ids.size(0), table.size(1))) {
      throw Arguments.unfit(kernel, "a table [v, d], ids [n] and rows [n, d]", table, ids, rows);
    }
  }

  private static void idsWithin(String kernel, Tensor ids, long vocabulary) {
    for (long start = 0; start < ids.size(0); start += IDS_PIECE) {
      int length = (int) Math.min(IDS_PIECE, ids.size(0) - start);
      LongBuffer numbers = ids.byteBuffer(Long.BYTES * start, Long.BYTES * length).asLongBuffer();
      for (int i = 0; i < length; i++) {
        long id = numbers.get(i);
        if (id < 0 || id >= vocabulary) {
          throw new IllegalArgumentException(
              kernel
                  + " was given row number "
                  + id
                  + " at place "
                  + (start + i)
                  + " for a table of "
                  + vocabulary
                  + " rows (the vocabulary size)");
        }
      }
    }
  }

  public static void rotary(Tensor x, Tensor cosine, Tensor sine, Tensor out) {
    Arguments.floating("rotary", x, out);
    Arguments.sameShape("rotary", x, out);
    Arguments.type("rotary", DType.FLOAT32, cosine);
    Arguments.type("rotary", DType.FLOAT32, sine);
    Arguments.contiguous("rotary", cosine, sine);
    if (x.shape().rank() != 4
        || x.size(3) % 2 != 0
        || !Arguments.isMatrix(cosine, x.size(1), x.size(3) / 2)
        || !cosine.shape().equals(sine.shape())) {
      throw Arguments.unfit(
          "rotary", "x [b, t, h, d] with d even, cosine and sine [t, d / 2]", x, cosine, sine);
    }
  }

  // ------------------------------------------------------------------------------------- attention

  public static void attention(
      Tensor query, Tensor key, Tensor value, boolean causal, Tensor out, Tensor logSumExp) {
    attention("attention", query, key, value, causal, out, logSumExp);
  }

  public static void attentionBackward(
      Tensor dOut,
      Tensor query,
      Tensor key,
      Tensor value,
      boolean causal,
      Tensor out,
      Tensor logSumExp,
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue) {
    attention("attentionBackward", query, key, value, causal, out, logSumExp);
    Arguments.floating("attentionBackward", query, dOut, dQuery, dKey, dValue);
    Arguments.sameShape("attentionBackward", out, dOut, dQuery);
    Arguments.sameShape("attentionBackward", key, dKey, dValue);
    Arguments.denseRows("attentionBackward", dOut, dQuery, dKey, dValue);
  }

  public static void mergeAttention(
      Tensor out, Tensor logSumExp, Tensor partOut, Tensor partLogSumExp) {
    String kernel = "mergeAttention";
    Arguments.type(kernel, DType.FLOAT32, out);
    Arguments.floating(kernel, partOut);
    Arguments.type(kernel, DType.FLOAT32, logSumExp);
    Arguments.type(kernel, DType.FLOAT32, partLogSumExp);
    Arguments.sameShape(kernel, out, partOut);
    Arguments.sameShape(kernel, logSumExp, partLogSumExp);
    requireStatistics(kernel, out, logSumExp);
    Arguments.denseRows(kernel, out, logSumExp, partOut, partLogSumExp);
  }

  private static void requireStatistics(String kernel, Tensor query, Tensor logSumExp) {
    if (query.shape().rank() != 4
        || logSumExp.shape().rank() != 3
        || logSumExp.size(0) != query.size(0)
        || logSumExp.size(1) != query.size(2)
        || logSumExp.size(2) != query.size(1)) {
      throw Arguments.unfit(kernel, "logSumExp [b, h, t] of query [b, t, h, d]", logSumExp, query);
    }
  }

  private static void attention(
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
    requireStatistics(kernel, query, logSumExp);
    Arguments.denseRows(kernel, query, key, value, out, logSumExp);
  }

  // -------------------------------------------------------------------------------------- the loss

  public static void crossEntropy(Tensor logits, Tensor targets, Tensor losses) {
    targets("crossEntropy", logits, targets);
    Arguments.type("crossEntropy", DType.FLOAT32, losses);
    Arguments.contiguous("crossEntropy", losses);
    if (!Arguments.isVector(losses, logits.size(0))) {
      throw Arguments.unfit("crossEntropy", "losses [n] of logits [n, v]", losses, logits);
    }
  }

  public static void crossEntropyBackward(Tensor logits, Tensor targets) {
    targets("crossEntropyBackward", logits, targets);
  }

  private static void targets(String kernel, Tensor logits, Tensor targets) {
    Arguments.floating(kernel, logits);
    Arguments.type(kernel, DType.INT64, targets);
    Arguments.contiguous(kernel, logits, targets);
    if (logits.shape().rank() != 2
        || logits.size(1) == 0
        || !Arguments.isVector(targets, logits.size(0))) {
      throw Arguments.unfit(kernel, "logits [n, v] and targets [n]", logits, targets);
    }
  }

  /** The target of a row for {@code crossEntropy}: negative, or a column. */
  public static void target(long target, long row, long vocabulary) {
    if (target >= vocabulary) {
      throw new IllegalArgumentException(
          "crossEntropy was given target "
              + target
              + " at row "
              + row
              + " for a vocabulary of "
              + vocabulary);
    }
  }

  public static void rowMaxima(Tensor x, Tensor maxima) {
    Arguments.floating("rowMaxima", x);
    Arguments.type("rowMaxima", DType.FLOAT32, maxima);
    Arguments.contiguous("rowMaxima", x, maxima);
    if (x.shape().rank() != 2 || x.size(1) == 0 || !Arguments.isVector(maxima, x.size(0))) {
      throw Arguments.unfit("rowMaxima", "x [n, v] and maxima [n]", x, maxima);
    }
  }

  public static void crossEntropyPart(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums, Tensor picked) {
    part("crossEntropyPart", logits, firstColumn, targets, maxima, sums, picked);
  }

  public static void crossEntropyPartBackward(
      Tensor logits, long firstColumn, Tensor targets, Tensor maxima, Tensor sums) {
    part("crossEntropyPartBackward", logits, firstColumn, targets, maxima, sums);
  }

  private static void part(
      String kernel, Tensor logits, long firstColumn, Tensor targets, Tensor... vectors) {
    Arguments.floating(kernel, logits);
    Arguments.type(kernel, DType.INT64, targets);
    Arguments.contiguous(kernel, logits, targets);
    boolean isFitting =
        logits.shape().rank() == 2
            && logits.size(1) > 0
            && Arguments.isVector(targets, logits.size(0));
    for (Tensor vector : vectors) {
      Arguments.type(kernel, DType.FLOAT32, vector);
      Arguments.contiguous(kernel, vector);
      isFitting &= logits.shape().rank() == 2 && Arguments.isVector(vector, logits.size(0));
    }
    if (!isFitting) {
      throw Arguments.unfit(
          kernel, "logits [n, v], and targets and FLOAT32 vectors [n]", logits, targets);
    }
    if (firstColumn < 0) {
      throw new IllegalArgumentException(kernel + " was given first column " + firstColumn);
    }
  }

  public static void crossEntropyOfParts(
      Tensor sums, Tensor picked, Tensor targets, Tensor losses) {
    for (Tensor tensor : new Tensor[] {sums, picked, losses}) {
      Arguments.type("crossEntropyOfParts", DType.FLOAT32, tensor);
    }
    Arguments.type("crossEntropyOfParts", DType.INT64, targets);
    Arguments.contiguous("crossEntropyOfParts", sums, picked, targets, losses);
    long rows = losses.elementCount();
    if (!Arguments.isVector(losses, rows)
        || !Arguments.isVector(sums, rows)
        || !Arguments.isVector(picked, rows)
        || !Arguments.isVector(targets, rows)) {
      throw Arguments.unfit(
          "crossEntropyOfParts", "four tensors [n]", sums, picked, targets, losses);
    }
  }

  // ------------------------------------------------------------------------------------ optimizers

  public static void adamW(
      AdamW update,
      Tensor parameters,
      Tensor gradients,
      Tensor firstMoments,
      Tensor secondMoments) {
    flat("adamW", parameters, gradients, firstMoments, secondMoments);
    if (update.step() < 1) {
      throw new IllegalArgumentException("adamW counts steps from 1, not " + update.step());
    }
    if (update.isVarianceFrozen() && update.varianceSteps() < 1) {
      throw new IllegalArgumentException(
          "adamW needs second moments of at least one step, not of " + update.varianceSteps());
    }
  }

  public static void sgd(
      Sgd update, Tensor parameters, Tensor gradients, @Nullable Tensor momenta) {
    flat("sgd", parameters, gradients);
    if (momenta != null) {
      flat("sgd", parameters, momenta);
    } else if (update.momentum() != 0) {
      throw new IllegalArgumentException(
          "sgd with momentum " + update.momentum() + " wants a tensor of momenta");
    }
  }

  private static void flat(String kernel, Tensor parameters, Tensor... others) {
    Arguments.type(kernel, DType.FLOAT32, parameters);
    Arguments.alike(kernel, parameters, others);
    if (parameters.shape().rank() != 1) {
      throw Arguments.unfit(kernel, "flat memory [n]", parameters);
    }
  }
}
