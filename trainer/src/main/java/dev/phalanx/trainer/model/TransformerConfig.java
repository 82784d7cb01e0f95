package dev.phalanx.trainer.model;

import dev.phalanx.parallelism.expert.Mixture;
import java.util.Optional;
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
 * @param mixture of experts in each layer, {@code feedForward} wide each; empty for one
 *     feed-forward layer that all tokens go through
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
    boolean isRecomputed,
    Optional<Mixture> mixture) {

  /** Larger than any model, and small enough that no product of two overflows. */
  public static final long LARGEST_SIZE = 1L << 30;

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
    return with(isWanted, mixture);
  }

  /** The same model, whose routers have no losses of their own. */
  public TransformerConfig withoutRouterLosses() {
    return with(isRecomputed, mixture.map(Mixture::withoutLosses));
  }

  private TransformerConfig with(boolean areRecomputed, Optional<Mixture> experts) {
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
        areRecomputed,
        experts);
  }

  /** Whether the feed-forward layer has a gate. */
  public boolean isGated() {
    return family == Family.LLAMA;
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
    long table = Math.multiplyExact(vocabulary, hidden);
    return sum(
        table,
        isTied ? 0 : table,
        family == Family.GPT2 ? Math.multiplyExact(sequence, hidden) : 0,
        Math.multiplyExact(layers, layerCount()),
        normCount());
  }

  /** Of one layer. */
  private long layerCount() {
    long packed = Math.multiplyExact(heads + 2 * keyValueHeads, headSize());
    long bias = family == Family.GPT2 ? 1 : 0;
    return sum(
        2 * normCount(),
        Math.multiplyExact(packed, hidden + bias),
        Math.multiplyExact(hidden, hidden + bias),
        feedForwardCount());
  }

  private long normCount() {
    return family == Family.GPT2 ? 2 * hidden : hidden;
  }

  /** Of one layer's feed-forward half. */
  private long feedForwardCount() {
    if (mixture.isPresent()) {
      long experts = mixture.get().experts();
      return sum(Math.multiplyExact(experts, hidden), Math.multiplyExact(experts, expertCount()));
    }
    long bias = family == Family.GPT2 ? hidden + widened() : 0;
    return Math.addExact(expertCount(), bias);
  }

  private long widened() {
    return isGated() ? Math.multiplyExact(2, feedForward) : feedForward;
  }

  private long expertCount() {
    return Math.multiplyExact(hidden, Math.addExact(widened(), feedForward));
  }

  /** Of all experts of all layers. */
  public long expertParameterCount() {
    long experts = mixture.map(Mixture::experts).orElse(0);
    return Math.multiplyExact(layers * experts, expertCount());
  }

  /** Of one of the ranks that divide a model evenly, where stages are equal. */
  public double parametersOfRank(int tensor, int pipeline, int expert) {
    double ofExperts = expertParameterCount();
    return (parameterCount() - ofExperts + ofExperts / expert) / tensor / pipeline;
  }

  /** Of so many layers on one of the ranks that divide them evenly. */
  public double parametersOfLayers(int count, int tensor, int expert) {
    double ofExperts = (double) expertParameterCount() / layers;
    return (layerCount() - ofExperts + ofExperts / expert) * count / tensor;
  }

  /** {@link #parameterCount} without the experts that a token does not go to. */
  public long activeParameterCount() {
    long left = mixture.map(of -> of.experts() - of.perToken()).orElse(0);
    return parameterCount() - layers * left * expertCount();
  }

  private static long sum(long... parts) {
    return LongStream.of(parts).reduce(0, Math::addExact);
  }

  /**
   * Floating-point operations of one token's forward and backward pass, causal attention counted at
   * half the square (Narayanan et al., 2021, appendix, without recomputation).
   */
  public double flopsPerToken() {
    double embedding =
        (double) hidden * (isTied ? 0 : vocabulary)
            + (family == Family.GPT2 ? hidden * sequence : 0);
    return 6.0 * (activeParameterCount() - embedding) + 6.0 * layers * hidden * sequence;
  }
}
