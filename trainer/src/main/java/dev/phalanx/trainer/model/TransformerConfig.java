package dev.phalanx.trainer.model;

import java.util.stream.LongStream;

/**
 * The sizes and choices of a decoder-only transformer.
 *
 * @param heads query heads; they divide {@code hidden}
 * @param keyValueHeads they divide {@code heads}
 * @param sequence the longest sequence
 * @param dropout after the embedding and after both halves of each layer; the attention's own
 *     probabilities are never dropped
 * @param isTied whether the embedding is the output projection too
 * @param isRecomputed whether the backward pass computes each layer anew instead of keeping its
 *     inner values
 */
public record TransformerConfig(
    Family family,
    int layers,
    long hidden,
    long heads,
    long keyValueHeads,
    long feedForward,
    long sequence,
    long vocabulary,
    double dropout,
    boolean isTied,
    double normEpsilon,
    double rotaryBase,
    RotaryScaling rotaryScaling,
    boolean isRecomputed) {

  /** Larger than any model, and small enough that no product of two overflows. */
  private static final long LARGEST_SIZE = 1L << 30;

  public TransformerConfig {
    for (long size : new long[] {layers, hidden, heads, keyValueHeads, feedForward, sequence}) {
      if (size < 1 || size > LARGEST_SIZE) {
        throw new IllegalArgumentException(
            "a size is " + size + "; it must be from 1 to " + LARGEST_SIZE);
      }
    }
    if (hidden % heads != 0) {
      throw new IllegalArgumentException("hidden " + hidden + " is no multiple of heads " + heads);
    }
    if (heads % keyValueHeads != 0) {
      throw new IllegalArgumentException(
          "heads " + heads + " is no multiple of kv_heads " + keyValueHeads);
    }
    if (family == Family.LLAMA && (hidden / heads) % 2 != 0) {
      throw new IllegalArgumentException(
          "Rotary positions need an even head size, not " + hidden / heads);
    }
  }

  /** The same model, its activations kept or computed anew. */
  public TransformerConfig withRecompute(boolean isWanted) {
    return new TransformerConfig(
        family,
        layers,
        hidden,
        heads,
        keyValueHeads,
        feedForward,
        sequence,
        vocabulary,
        dropout,
        isTied,
        normEpsilon,
        rotaryBase,
        rotaryScaling,
        isWanted);
  }

  public long headSize() {
    return hidden / heads;
  }

  /**
   * Radians for each position by which a pair of a head's numbers is turned.
   *
   * @param pair from 0, the fastest
   */
  double rotaryFrequency(long pair) {
    return rotaryScaling.scaled(1.0 / Math.pow(rotaryBase, 2.0 * pair / headSize()));
  }

  /**
   * The number of trained values, of a tied embedding counted once.
   *
   * @throws ArithmeticException where a {@code long} cannot count them
   */
  public long parameterCount() {
    long packed = Math.multiplyExact(heads + 2 * keyValueHeads, headSize());
    long bias = family == Family.GPT2 ? 1 : 0;
    long norm = family == Family.GPT2 ? 2 * hidden : hidden;
    long widened = family == Family.LLAMA ? Math.multiplyExact(2, feedForward) : feedForward;
    long layer =
        sum(
            2 * norm,
            Math.multiplyExact(packed, hidden + bias),
            Math.multiplyExact(hidden, hidden + bias),
            Math.multiplyExact(widened, hidden + bias),
            Math.multiplyExact(hidden, feedForward + bias));
    long table = Math.multiplyExact(vocabulary, hidden);
    return sum(
        table,
        isTied ? 0 : table,
        family == Family.GPT2 ? Math.multiplyExact(sequence, hidden) : 0,
        Math.multiplyExact(layers, layer),
        norm);
  }

  private static long sum(long... parts) {
    return LongStream.of(parts).reduce(0, Math::addExact);
  }

  /**
   * Floating-point operations of one token's forward and backward pass, causal attention counted at
   * half the square (Narayanan et al., 2021, appendix, without recomputation).
   */
  public double flopsPerToken(long parameters) {
    double embedding =
        (double) hidden * (isTied ? 0 : vocabulary)
            + (family == Family.GPT2 ? hidden * sequence : 0);
    return 6.0 * (parameters - embedding) + 6.0 * layers * hidden * sequence;
  }
}
