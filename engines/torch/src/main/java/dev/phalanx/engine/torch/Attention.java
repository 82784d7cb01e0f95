package dev.phalanx.engine.torch;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import org.bytedeco.pytorch.IValue;

/**
 * Attention by LibTorch's flash-attention kernels for the CPU. They take [b, h, t, d] with any
 * strides but the innermost, so transposed views of our [b, t, h, d] go in without a copy, and know
 * grouped-query heads.
 *
 * <p>BFLOAT16 values are widened first: LibTorch's kernel for them takes twenty times as long as
 * the one for FLOAT32 where it was built without the matrix library that it hopes for.
 */
final class Attention {
  private final TorchContext context;
  private final BoxedOperator forward;
  private final BoxedOperator backward;
  private final IValue none;
  private final IValue noDropout;
  private final IValue yes;
  private final IValue no;
  private final Scratch wideQuery;
  private final Scratch wideKey;
  private final Scratch wideValue;
  private final Scratch wideOut;
  private final Scratch wideSlope;

  Attention(TorchContext context) {
    this.context = context;
    this.forward = context.operator("aten::_scaled_dot_product_flash_attention_for_cpu", "");
    this.backward =
        context.operator("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "");
    this.none = context.own(new IValue());
    this.noDropout = context.own(new IValue(0.0));
    this.yes = context.own(new IValue(true));
    this.no = context.own(new IValue(false));
    this.wideQuery = context.scratch();
    this.wideKey = context.scratch();
    this.wideValue = context.scratch();
    this.wideOut = context.scratch();
    this.wideSlope = context.scratch();
  }

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
    try (var q = new IValue(wide(query, wideQuery));
        var k = new IValue(wide(key, wideKey));
        var v = new IValue(wide(value, wideValue));
        var factor = new IValue(scale)) {
      forward.call(q, k, v, noDropout, causal ? yes : no, none, factor);
      context.transposed(out).copy_(forward.result(0));
      context.of(logSumExp).copy_(forward.result(1));
      forward.forget();
    }
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
    Arguments.contiguous("attentionBackward", dOut);
    Arguments.sameShape("attentionBackward", out, dOut, dQuery);
    Arguments.sameShape("attentionBackward", key, dKey, dValue);
    if (out.elementCount() == 0 || key.elementCount() == 0) {
      context.of(dQuery).zero_();
      context.of(dKey).zero_();
      context.of(dValue).zero_();
      return;
    }
    try (var dy = new IValue(wide(dOut, wideSlope));
        var q = new IValue(wide(query, wideQuery));
        var k = new IValue(wide(key, wideKey));
        var v = new IValue(wide(value, wideValue));
        var y = new IValue(wide(out, wideOut));
        var sums = new IValue(context.of(logSumExp));
        var factor = new IValue(scale)) {
      backward.call(dy, q, k, v, y, sums, noDropout, causal ? yes : no, none, factor);
      context.transposed(dQuery).copy_(backward.result(0));
      context.transposed(dKey).copy_(backward.result(1));
      context.transposed(dValue).copy_(backward.result(2));
      backward.forget();
    }
  }

  /** The tensor as the kernel wants it: [b, h, t, d], FLOAT32. */
  private org.bytedeco.pytorch.Tensor wide(Tensor tensor, Scratch scratch) {
    var transposed = context.transposed(tensor);
    if (tensor.dtype() == DType.FLOAT32) {
      return transposed;
    }
    var copy =
        scratch.get(DType.FLOAT32, tensor.size(0), tensor.size(2), tensor.size(1), tensor.size(3));
    copy.copy_(transposed);
    return copy;
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
    Arguments.contiguous(kernel, out, logSumExp);
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
    for (Tensor tensor : new Tensor[] {query, key, value}) {
      if (tensor.stride(3) != 1 && tensor.elementCount() > 0) {
        throw new IllegalArgumentException(
            kernel + " wants an innermost stride of 1, not " + tensor.stride(3) + " of " + tensor);
      }
    }
  }
}
