package dev.phalanx.trainer.generate;

import dev.phalanx.tensor.CounterRandom;
import java.util.stream.IntStream;

/**
 * How the next token is chosen from the logits.
 *
 * @param temperature what logits are divided by; 0: the most likely token (greedy)
 * @param topK how many of the most likely tokens are considered; 0: all
 * @param seed of the choices: the same seed, model and prompt give the same text
 */
public record Sampling(double temperature, int topK, long seed) {
  public static final Sampling GREEDY = new Sampling(0, 0, 0);

  public Sampling {
    if (!(temperature >= 0) || Double.isInfinite(temperature)) {
      throw new IllegalArgumentException(
          "temperature is " + temperature + "; it must be a number from 0");
    }
    if (topK < 0) {
      throw new IllegalArgumentException("top-k is " + topK + "; it must be a number from 0");
    }
  }

  /**
   * @param number how many tokens have been chosen before
   */
  int choose(float[] logits, long number) {
    if (temperature == 0 || topK == 1) {
      return mostLikely(logits);
    }
    int[] candidates = candidates(logits);
    double largest = logits[mostLikely(logits)];
    double[] weights = new double[candidates.length];
    double total = 0;
    for (int i = 0; i < candidates.length; i++) {
      weights[i] = Math.exp((logits[candidates[i]] - largest) / temperature);
      total += weights[i];
    }
    double left = (CounterRandom.at(seed, number) >>> 11) * 0x1p-53 * total;
    for (int i = 0; i < candidates.length; i++) {
      left -= weights[i];
      if (left < 0) {
        return candidates[i];
      }
    }
    return candidates[candidates.length - 1]; // rounding left a rest
  }

  private int[] candidates(float[] logits) {
    IntStream all = IntStream.range(0, logits.length);
    if (topK == 0 || topK >= logits.length) {
      return all.toArray();
    }
    return all.boxed()
        .sorted((a, b) -> Float.compare(logits[b], logits[a]))
        .limit(topK)
        .mapToInt(Integer::intValue)
        .toArray();
  }

  private static int mostLikely(float[] logits) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      if (logits[i] > logits[best]) {
        best = i;
      }
    }
    return best;
  }
}
