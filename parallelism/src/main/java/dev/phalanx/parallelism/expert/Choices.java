package dev.phalanx.parallelism.expert;

/**
 * Which experts each token goes to, and by how much each of them counts, from the router's logits
 * z. With several experts a token, gates are the softmax over the chosen ones' logits (Jiang et
 * al., 2024, "Mixtral of Experts", 2.1); with one, its share of the softmax over all (Fedus et al.,
 * 2022, "Switch Transformers", 2.1), for else the router would have no gradient.
 */
final class Choices {
  private final Mixture mixture;
  private final int[] experts; // [n * k]
  private final float[] gates; // [n * k]

  /**
   * @param logits [n * experts], token after token
   * @param positions [length] of the tokens of a sequence; sequences follow each other
   */
  Choices(Mixture mixture, float[] logits, int[] positions) {
    this.mixture = mixture;
    int tokens = logits.length / mixture.experts();
    this.experts = new int[tokens * mixture.perToken()];
    this.gates = new float[experts.length];
    boolean[] isTaken = new boolean[mixture.experts()];
    double[] probabilities = new double[mixture.experts()];
    for (int token = 0; token < tokens; token++) {
      choose(logits, token, positions[token % positions.length], isTaken);
      weigh(logits, token, probabilities);
    }
  }

  /** [n * k], the k experts of the first token, of the second one and so on; best ones first. */
  int[] experts() {
    return experts;
  }

  /** [n * k]. */
  float[] gates() {
    return gates;
  }

  /**
   * The largest logits. Of equal ones those from the token's place on are taken: a router that
   * knows nothing yet sends as many tokens to each expert.
   */
  private void choose(float[] logits, int token, int position, boolean[] isTaken) {
    int count = mixture.experts();
    int start = Math.floorMod(position * mixture.perToken(), count);
    int row = token * count;
    int first = token * mixture.perToken();
    for (int choice = 0; choice < mixture.perToken(); choice++) {
      int best = -1;
      int expert = start;
      for (int i = 0; i < count; i++) {
        if (!isTaken[expert] && (best < 0 || logits[row + expert] > logits[row + best])) {
          best = expert;
        }
        expert = expert + 1 == count ? 0 : expert + 1;
      }
      experts[first + choice] = best;
      isTaken[best] = true;
    }
    for (int i = first; i < first + mixture.perToken(); i++) {
      isTaken[experts[i]] = false;
    }
  }

  private void weigh(float[] logits, int token, double[] probabilities) {
    int row = token * mixture.experts();
    int first = token * mixture.perToken();
    if (mixture.perToken() == 1) {
      softmax(logits, row, probabilities);
      gates[first] = (float) probabilities[experts[first]];
      return;
    }
    double largest = logits[row + experts[first]];
    double sum = 0;
    for (int i = first; i < first + mixture.perToken(); i++) {
      sum += Math.exp(logits[row + experts[i]] - largest);
    }
    for (int i = first; i < first + mixture.perToken(); i++) {
      gates[i] = (float) (Math.exp(logits[row + experts[i]] - largest) / sum);
    }
  }

  /**
   * The softmax over all of a token's logits.
   *
   * @param row the first of them
   * @param probabilities [experts], which it is written to
   * @return the logarithm of the sum of exponentials
   */
  private double softmax(float[] logits, int row, double[] probabilities) {
    double largest = Double.NEGATIVE_INFINITY;
    for (int expert = 0; expert < probabilities.length; expert++) {
      largest = Math.max(largest, logits[row + expert]);
    }
    double sum = 0;
    for (int expert = 0; expert < probabilities.length; expert++) {
      probabilities[expert] = Math.exp(logits[row + expert] - largest);
      sum += probabilities[expert];
    }
    for (int expert = 0; expert < probabilities.length; expert++) {
      probabilities[expert] /= sum;
    }
    return largest + Math.log(sum);
  }

  /**
   * How many tokens each expert gets of each sequence.
   *
   * @return [sequences * experts]
   */
  long[] load(int sequences) {
    long[] load = new long[sequences * mixture.experts()];
    int ofSequence = experts.length / sequences;
    for (int choice = 0; choice < experts.length; choice++) {
      load[choice / ofSequence * mixture.experts() + experts[choice]]++;
    }
    return load;
  }

  // -------------------------------------------------------------------------------- gradients

  /**
   * The logits' gradients.
   *
   * @param logits [n * experts], as they were chosen by
   * @param gateGradients [n * k]
   * @return [n * experts]
   */
  float[] backward(float[] logits, float[] gateGradients) {
    float[] gradients = new float[logits.length];
    double[] probabilities = new double[mixture.experts()];
    for (int token = 0; token < gradients.length / mixture.experts(); token++) {
      int first = token * mixture.perToken();
      if (mixture.perToken() == 1) {
        softmax(logits, token * mixture.experts(), probabilities);
        ofOneGate(token, gateGradients[first] * (double) gates[first], probabilities, gradients);
      } else {
        ofGates(token, gateGradients, gradients);
      }
    }
    return gradients;
  }

  private void ofOneGate(int token, double gradient, double[] probabilities, float[] gradients) {
    int row = token * mixture.experts();
    for (int expert = 0; expert < mixture.experts(); expert++) {
      gradients[row + expert] -= (float) (gradient * probabilities[expert]);
    }
    gradients[row + experts[token]] += (float) gradient;
  }

  private void ofGates(int token, float[] gateGradients, float[] gradients) {
    int first = token * mixture.perToken();
    double mean = 0;
    for (int i = first; i < first + mixture.perToken(); i++) {
      mean += (double) gates[i] * gateGradients[i];
    }
    for (int i = first; i < first + mixture.perToken(); i++) {
      gradients[token * mixture.experts() + experts[i]] +=
          (float) (gates[i] * (gateGradients[i] - mean));
    }
  }

  /**
   * Adds the gradients of the router's own losses: for a sequence of t tokens, of which expert e
   * gets f(e) times as many as if all got equally many, and has the mean probability p(e)
   *
   * <pre>
   *   balance * sum of f(e) p(e) + z_loss * mean of (log of the sum of exponentials)^2
   * </pre>
   *
   * which counts as its tokens do.
   *
   * @param logits [n * experts], as they were chosen by
   * @param load [sequences * experts] of whole sequences
   * @param weight of one token
   * @param gradients [n * experts]
   */
  void addLosses(float[] logits, long[] load, double weight, float[] gradients) {
    int count = mixture.experts();
    int sequences = load.length / count;
    int tokens = gradients.length / count;
    double[] slopes = slopes(load, weight);
    double[] probabilities = new double[count];
    for (int token = 0; token < tokens; token++) {
      int row = token * count;
      int sequence = (int) ((long) token * sequences / tokens) * count;
      double logSum = softmax(logits, row, probabilities);
      double mean = 0;
      for (int expert = 0; expert < count; expert++) {
        mean += probabilities[expert] * slopes[sequence + expert];
      }
      double common = 2 * mixture.zLoss() * weight * logSum - mean;
      for (int expert = 0; expert < count; expert++) {
        gradients[row + expert] +=
            (float) (probabilities[expert] * (slopes[sequence + expert] + common));
      }
    }
  }

  /** By how much the balance loss grows with a token's probabilities, [sequences * experts]. */
  private double[] slopes(long[] load, double weight) {
    int count = mixture.experts();
    double[] slopes = new double[load.length];
    for (int first = 0; first < load.length; first += count) {
      long all = 0;
      for (int expert = 0; expert < count; expert++) {
        all += load[first + expert];
      }
      for (int expert = 0; expert < count; expert++) {
        slopes[first + expert] = mixture.balance() * weight * load[first + expert] * count / all;
      }
    }
    return slopes;
  }
}
