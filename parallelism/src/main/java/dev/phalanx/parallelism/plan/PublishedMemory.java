package dev.phalanx.parallelism.plan;

/**
 * Memory by the formulas of the papers that the field compares itself with: 16-bit training of a
 * GPT whose feed-forward layers are four times as wide as the model. A rehearsal says what a job of
 * ours holds; these say what the papers' own systems would, with 2-byte gradients and with dropout
 * masks.
 */
public final class PublishedMemory {
  /** Of a weight, and of a gradient, in 16 bits. */
  private static final int HALF = 2;

  /** Master weight, first and second moment in 32 bits: the paper's K. */
  private static final int OPTIMIZER = 12;

  /** Which activations are computed again in the backward pass. */
  public enum Recomputed {
    NOTHING,
    /** Attention's scores, their softmax and its dropout. */
    ATTENTION,
    /** Everything but a layer's input. */
    LAYERS
  }

  /**
   * The sizes of a micro-batch in a layer.
   *
   * @param sequence tokens, the paper's s
   * @param microBatch sequences, b
   * @param hidden width, h
   * @param heads a
   */
  public record Layer(long sequence, long microBatch, long hidden, long heads) {}

  private PublishedMemory() {}

  /**
   * Bytes of weights, gradients and optimizer state on a rank (Rajbhandari et al., 2020, "ZeRO:
   * Memory Optimizations Toward Training Trillion Parameter Models", section 5 and table 1).
   *
   * @param parameters of the model, or of a rank's part of it
   * @param zero 0 to 3: what is divided among the ranks
   * @param ranks that share it, the paper's N_d
   */
  public static double modelStateBytes(double parameters, int zero, int ranks) {
    double weights = zero >= 3 ? (double) HALF / ranks : HALF;
    double gradients = zero >= 2 ? (double) HALF / ranks : HALF;
    double optimizer = zero >= 1 ? (double) OPTIMIZER / ranks : OPTIMIZER;
    return parameters * (weights + gradients + optimizer);
  }

  /**
   * Bytes of a layer's activations that a micro-batch leaves on a rank for the backward pass
   * (Korthikanti et al., 2022, "Reducing Activation Recomputation in Large Transformer Models",
   * table 2).
   *
   * @param tensor ranks that divide the layer, t
   * @param isSequenceParallel whether norms and dropout are divided too
   */
  public static double activationBytes(
      Layer layer, int tensor, boolean isSequenceParallel, Recomputed recomputed) {
    double sbh = (double) layer.sequence() * layer.microBatch() * layer.hidden();
    if (recomputed == Recomputed.LAYERS) {
      return 2 * sbh;
    }
    double divided = 24;
    double norms = 10; // two norms' inputs, the inputs of attention and MLP, two dropout masks
    double scores = 5.0 * layer.heads() * layer.sequence() / layer.hidden();
    return sbh
        * ((isSequenceParallel ? norms / tensor : norms)
            + divided / tensor
            + (recomputed == Recomputed.NOTHING ? scores / tensor : 0));
  }
}
