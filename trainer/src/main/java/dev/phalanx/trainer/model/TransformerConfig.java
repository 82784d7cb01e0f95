package dev.phalanx.trainer.model;

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
    boolean isRecomputed) {

  public TransformerConfig {
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

  public long headSize() {
    return hidden / heads;
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
