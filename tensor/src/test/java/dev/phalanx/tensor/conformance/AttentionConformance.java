package dev.phalanx.tensor.conformance;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Sample;
import dev.phalanx.tensor.Tensor;
import dev.phalanx.tensor.conformance.ReferenceKernels.Heads;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Attention forward and backward, causal or not, with grouped heads, on views. */
public abstract class AttentionConformance extends KernelConformance {
  /**
   * Kernels of half the width may round the softmax's weights, and in the backward the scores'
   * gradients, before they multiply: two roundings more than the result's own.
   */
  private static double attentionTolerance(DType dtype) {
    return switch (dtype) {
      case BFLOAT16 -> 3 * 0x1p-8;
      case FLOAT16 -> 3 * 0x1p-11;
      default -> 1e-5;
    };
  }

  @Sample(3)
  @ParameterizedTest
  @CsvSource({
    "FLOAT32, false, 1",
    "FLOAT32, true, 1",
    "FLOAT32, false, 2",
    "FLOAT32, true, 2",
    "FLOAT32, true, 4",
    "BFLOAT16, false, 1",
    "BFLOAT16, true, 1",
    "BFLOAT16, false, 2",
    "BFLOAT16, true, 2",
    "BFLOAT16, true, 4",
    "FLOAT16, true, 2"
  })
  void attentionAndItsGradients(DType dtype, boolean causal, int ratio) {
    for (int positions : new int[] {1, 3, 7, 17, 33, 65, 200}) {
      for (int width : new int[] {1, 8, 17, 64}) {
        check(dtype, causal, new Heads(2, positions, positions, 4, 4 / ratio, width), false, true);
      }
    }
  }

  /** Sizes for which a library may have made kernels, over several blocks of queries and keys. */
  @Sample(3)
  @ParameterizedTest
  @CsvSource({
    "FLOAT32, true, 1",
    "FLOAT32, false, 2",
    "BFLOAT16, true, 1",
    "BFLOAT16, true, 2",
    "BFLOAT16, false, 1",
    "FLOAT16, true, 2"
  })
  void multiplesOf64(DType dtype, boolean causal, int ratio) {
    check(dtype, causal, new Heads(1, 320, 320, 2, 2 / ratio, 64), false, true);
    if (!causal) {
      check(dtype, false, new Heads(1, 64, 576, 2, 2, 128), false);
      check(dtype, false, new Heads(1, 128, 2112, 2, 1, 64), false);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void withoutAMaskThereMayBeMoreKeysThanQueries(DType dtype) {
    check(dtype, false, new Heads(1, 7, 65, 2, 1, 16), false);
    check(dtype, false, new Heads(1, 65, 7, 2, 2, 16), false);
  }

  /** Against one reference, whose sums take longer than the kernel: each way of lying in memory. */
  private void check(DType dtype, boolean causal, Heads sizes, boolean... packings) {
    double scale = 1 / Math.sqrt(sizes.width());
    double[] q = normal(dtype, sizes.batch() * sizes.queries() * sizes.heads() * sizes.width());
    double[] k = normal(dtype, sizes.batch() * sizes.keys() * sizes.groups() * sizes.width());
    double[] v = normal(dtype, k.length);
    double[] dOut = normal(dtype, q.length);
    var expected = ReferenceKernels.attention(q, k, v, sizes, causal, scale);
    var slopes = ReferenceKernels.attentionBackward(dOut, q, k, v, sizes, causal, scale);
    for (boolean packed : packings) {
      Parts inputs = parts(dtype, sizes, packed);
      engine.copy(tensor(dtype, q, inputs.query.shape().toArray()), inputs.query);
      engine.copy(tensor(dtype, k, inputs.key.shape().toArray()), inputs.key);
      engine.copy(tensor(dtype, v, inputs.key.shape().toArray()), inputs.value);
      Tensor out = output(dtype, inputs.query.shape().toArray());
      Tensor logSumExp = output(DType.FLOAT32, sizes.batch(), sizes.heads(), sizes.queries());

      engine.attention(inputs.query, inputs.key, inputs.value, causal, scale, out, logSumExp);

      assertClose(out, expected.out(), attentionTolerance(dtype));
      assertClose(logSumExp, expected.logSumExp(), 1e-5);

      Parts gradients = parts(dtype, sizes, packed);
      engine.attentionBackward(
          tensor(dtype, dOut, inputs.query.shape().toArray()),
          inputs.query,
          inputs.key,
          inputs.value,
          causal,
          scale,
          out,
          logSumExp,
          gradients.query,
          gradients.key,
          gradients.value);

      if (sizes.keys() > 1) {
        // One key alone takes all weight: queries and keys have no slope, only rounding.
        assertClose(gradients.query, slopes.query(), 2 * attentionTolerance(dtype));
        assertClose(gradients.key, slopes.key(), 2 * attentionTolerance(dtype));
      }
      assertClose(gradients.value, slopes.value(), 2 * attentionTolerance(dtype));
      arena.trim();
    }
  }

  private record Parts(Tensor query, Tensor key, Tensor value) {}

  /** Query, key and value each by itself, or as views of one packed tensor [b, t, h + 2g, d]. */
  private Parts parts(DType dtype, Heads sizes, boolean packed) {
    if (!packed) {
      return new Parts(
          output(dtype, sizes.batch(), sizes.queries(), sizes.heads(), sizes.width()),
          output(dtype, sizes.batch(), sizes.keys(), sizes.groups(), sizes.width()),
          output(dtype, sizes.batch(), sizes.keys(), sizes.groups(), sizes.width()));
    }
    Tensor all =
        output(
            dtype,
            sizes.batch(),
            sizes.queries(),
            sizes.heads() + 2L * sizes.groups(),
            sizes.width());
    return new Parts(
        all.slice(2, 0, sizes.heads()),
        all.slice(2, sizes.heads(), sizes.groups()),
        all.slice(2, sizes.heads() + sizes.groups(), sizes.groups()));
  }

  /**
   * Queries of the second half of a sequence, into their place among all, over the keys in three
   * uneven parts: as over all keys at once.
   */
  @ParameterizedTest
  @CsvSource({"FLOAT32, 1", "FLOAT32, 2", "BFLOAT16, 2", "FLOAT16, 1"})
  void partsOverSomeKeysMergeIntoAttentionOverAll(DType dtype, int ratio) {
    Heads sizes = new Heads(2, 7, 40, 4, 4 / ratio, 17);
    double scale = 1 / Math.sqrt(sizes.width());
    double[] q = normal(dtype, sizes.batch() * sizes.queries() * sizes.heads() * sizes.width());
    double[] k = normal(dtype, sizes.batch() * sizes.keys() * sizes.groups() * sizes.width());
    double[] v = normal(dtype, k.length);
    var expected = ReferenceKernels.attention(q, k, v, sizes, false, scale);
    Tensor query = tensor(dtype, q, 2, 7, 4, 17);
    Tensor key = tensor(dtype, k, 2, 40, sizes.groups(), 17);
    Tensor value = tensor(dtype, v, 2, 40, sizes.groups(), 17);
    Tensor out = output(DType.FLOAT32, 2, 14, 4, 17);
    Tensor logSumExp = output(DType.FLOAT32, 2, 4, 14);
    engine.fill(out, 0);
    engine.fill(logSumExp, Double.NEGATIVE_INFINITY);
    Tensor secondHalf = out.slice(1, 7, 7);
    Tensor secondSums = logSumExp.slice(2, 7, 7);
    Tensor part = output(dtype, 2, 7, 4, 17);
    Tensor partSums = output(DType.FLOAT32, 2, 4, 7);
    for (int[] keys : new int[][] {{0, 1}, {1, 30}, {31, 0}, {31, 9}}) {
      Tensor someKeys = key.slice(1, keys[0], keys[1]);
      Tensor someValues = value.slice(1, keys[0], keys[1]);
      engine.attention(query, someKeys, someValues, false, scale, part, partSums);
      engine.mergeAttention(secondHalf, secondSums, part, partSums);
    }
    Tensor merged = output(DType.FLOAT32, 2, 7, 4, 17);
    Tensor mergedSums = output(DType.FLOAT32, 2, 4, 7);
    engine.copy(secondHalf, merged);
    engine.copy(secondSums, mergedSums);
    assertClose(merged, expected.out(), attentionTolerance(dtype));
    assertClose(mergedSums, expected.logSumExp(), 1e-5);
    Tensor firstHalf = output(DType.FLOAT32, 2, 7, 4, 17);
    engine.copy(out.slice(1, 0, 7), firstHalf);
    assertThat(values(firstHalf)).containsOnly(0);

    assertRefused("mergeAttention", () -> engine.mergeAttention(out, logSumExp, part, partSums));
    assertRefused(
        "mergeAttention", () -> engine.mergeAttention(secondHalf, mergedSums, query, logSumExp));
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void largeScoresDoNotOverflow(DType dtype) {
    Heads sizes = new Heads(1, 5, 5, 1, 1, 4);
    double[] q = ReferenceKernels.map(normal(dtype, 20), v -> Numbers.rounded(dtype, 100 * v));
    Tensor x = tensor(dtype, q, 1, 5, 1, 4);
    Tensor out = output(dtype, 1, 5, 1, 4);
    Tensor logSumExp = output(DType.FLOAT32, 1, 1, 5);
    engine.attention(x, x, x, true, 1, out, logSumExp);
    var expected = ReferenceKernels.attention(q, q, q, sizes, true, 1);
    assertClose(out, expected.out(), attentionTolerance(dtype));
    assertClose(logSumExp, expected.logSumExp(), 1e-5);
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void emptyBatchesAndSequences(DType dtype) {
    assumeKernelsTake(dtype);
    for (long[] shape : new long[][] {{0, 3, 2, 4}, {2, 0, 2, 4}}) {
      Tensor x = arena.allocate(dtype, shape);
      Tensor logSumExp = arena.allocate(DType.FLOAT32, shape[0], shape[2], shape[1]);
      engine.attention(x, x, x, true, 1, arena.allocate(dtype, shape), logSumExp);
      engine.attentionBackward(
          x,
          x,
          x,
          x,
          true,
          1,
          x,
          logSumExp,
          arena.allocate(dtype, shape),
          arena.allocate(dtype, shape),
          arena.allocate(dtype, shape));
    }
    Tensor out = output(dtype, 1, 3, 2, 4);
    Tensor keys = arena.allocate(dtype, 1, 0, 2, 4);
    engine.attention(
        arena.zeros(dtype, 1, 3, 2, 4), keys, keys, false, 1, out, output(DType.FLOAT32, 1, 2, 3));
    assertThat(values(out)).containsOnly(0);
  }

  @Test
  void wrongShapesAreRefused() {
    Tensor q = arena.zeros(DType.FLOAT32, 1, 4, 6, 8);
    Tensor k = arena.zeros(DType.FLOAT32, 1, 4, 4, 8);
    Tensor shorter = arena.zeros(DType.FLOAT32, 1, 3, 2, 8);
    Tensor out = arena.zeros(DType.FLOAT32, 1, 4, 6, 8);
    Tensor statistics = arena.zeros(DType.FLOAT32, 1, 6, 4);
    assertRefused("attention", () -> engine.attention(q, k, k, true, 1, out, statistics));
    assertRefused(
        "attention", () -> engine.attention(q, shorter, shorter, true, 1, out, statistics));
    assertRefused("attention", () -> engine.attention(q, q, k, true, 1, out, statistics));
    assertRefused(
        "attention",
        () -> engine.attention(q, q, q, true, 1, out, arena.zeros(DType.FLOAT32, 1, 4, 6)));
    assertRefused(
        "attention",
        () ->
            engine.attention(
                arena.zeros(DType.FLOAT32, 1, 4, 8, 6).transpose(2, 3),
                q,
                q,
                true,
                1,
                out,
                statistics));
  }
}
