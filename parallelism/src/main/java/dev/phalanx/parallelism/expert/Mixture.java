package dev.phalanx.parallelism.expert;

/**
 * What a layer of experts is.
 *
 * @param experts of each layer
 * @param perToken how many of them a token goes to
 * @param balance how much the loss counts that is least where experts get equally many tokens of
 *     each sequence (DeepSeek-AI, 2024, "DeepSeek-V3", 2.1.2: the balance factor alpha)
 * @param zLoss how much the squared logarithm of the router's sum of exponentials counts (Zoph et
 *     al., 2022, "ST-MoE", 3.2), which keeps logits small
 */
public record Mixture(int experts, int perToken, double balance, double zLoss) {
  /** What has kept experts evenly used without a price in loss (Fedus et al., 2022, 2.2). */
  public static final double DEFAULT_BALANCE = 0.01;

  public Mixture {
    if (experts < 1 || perToken < 1 || perToken > experts) {
      throw new IllegalArgumentException(
          "A token goes to " + perToken + " of " + experts + " experts");
    }
    if (!(balance >= 0 && zLoss >= 0)) {
      throw new IllegalArgumentException(
          "Losses count balance " + balance + " and zLoss " + zLoss + "; neither is negative");
    }
  }

  /** The same experts, in whose choice no other loss than the model's takes part. */
  public Mixture withoutLosses() {
    return new Mixture(experts, perToken, 0, 0);
  }

  /** Whether the router has losses of its own. */
  boolean hasLosses() {
    return balance != 0 || zLoss != 0;
  }
}
