package dev.phalanx.parallelism.expert;

/**
 * Which experts each token goes to, and by how much each of them counts, from the router's logits
 * z. With several experts a token, gates are the softmax over the chosen ones' logits (Jiang et
 * al., 2024, "Mixtral of Experts", 2.1); with one, its share of the softmax over all (Fedus et al.,
 * 2022, "Switch Transformers", 2.1), for else the router would have no gradient.
 */
final class Choices {
  private final Mixture mixture;
  private final float[] logits; // [n * experts]
  private final int[] experts; // [n * k]
  private final float[] gates; // [n * k]

  /**
   * @param logits [n * experts], token after token
   * @param positions [length] of the tokens of a sequence; sequences follow each other
   */
  Choices(Mixture mixture, float[] logits, int[] positions) {
    this.mixture = mixture;
    this.logits = logits;
    int tokens = logits.length / mixture.experts();
    this.experts = new int[tokens * mixture.perToken()];
    this.gates = new float[experts.length];
    for (int token = 0; token < tokens; token++) {
      choose(token, positions[token % positions.length]);
      weigh(token);
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
  private void choose(int token, int position) {
    int count = mixture.experts();
    int first = token * mixture.perToken();
    for (int choice = 0; choice < mixture.perToken(); choice++) {
      int best = -1;
      for (int i = 0; i < count; i++) {
        int expert = Math.floorMod(position * mixture.perToken() + i, count);
        if (!isTaken(expert, first, choice)
            && (best < 0 || logit(token, expert) > logit(token, best))) {
          best = expert;
        }
      }
      experts[first + choice] = best;
    }
  }

  private boolean isTaken(int expert, int first, int choices) {
    for (int i = first; i < first + choices; i++) {
      if (experts[i] == expert) {
        return true;
      }
    }
    return false;
  }

  private float logit(int token, int expert) {
    return logits[token * mixture.experts() + expert];
  }

  private void weigh(int token) {
    int first = token * mixture.perToken();
    if (mixture.perToken() == 1) {
      gates[first] = (float) probability(token, experts[first], logSum(token));
      return;
    }
    double largest = logit(token, experts[first]);
    double sum = 0;
    for (int i = first; i < first + mixture.perToken(); i++) {
      sum += Math.exp(logit(token, experts[i]) - largest);
    }
    for (int i = first; i < first + mixture.perToken(); i++) {
      gates[i] = (float) (Math.exp(logit(token, experts[i]) - largest) / sum);
    }
  }

  /** The logarithm of the sum of exponentials of all logits. */
  private double logSum(int token) {
    double largest = Double.NEGATIVE_INFINITY;
    for (int expert = 0; expert < mixture.experts(); expert++) {
      largest = Math.max(largest, logit(token, expert));
    }
    double sum = 0;
    for (int expert = 0; expert < mixture.experts(); expert++) {
      sum += Math.exp(logit(token, expert) - largest);
    }
    return largest + Math.log(sum);
  }

  private double probability(int token, int expert, double logSum) {
    return Math.exp(logit(token, expert) - logSum);
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
   * @param gateGradients [n * k]
   * @return [n * experts]
   */
  float[] backward(float[] gateGradients) {
    float[] gradients = new float[logits.length];
    for (int token = 0; token < gradients.length / mixture.experts(); token++) {
      int first = token * mixture.perToken();
      if (mixture.perToken() == 1) {
        ofOneGate(token, gateGradients[first] * (double) gates[first], gradients);
      } else {
        ofGates(token, gateGradients, gradients);
      }
    }
    return gradients;
  }

  private void ofOneGate(int token, double gradient, float[] gradients) {
    double logSum = logSum(token);
    int row = token * mixture.experts();
    for (int expert = 0; expert < mixture.experts(); expert++) {
      gradients[row + expert] -= (float) (gradient * probability(token, expert, logSum));
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
   * @param load [sequences * experts] of whole sequences
   * @param weight of one token
   * @param gradients [n * experts]
   */
  void addLosses(long[] load, double weight, float[] gradients) {
    int count = mixture.experts();
    int sequences = load.length / count;
    int tokens = gradients.length / count;
    double[] slopes = new double[count];
    for (int token = 0; token < tokens; token++) {
      int sequence = (int) ((long) token * sequences / tokens);
      double logSum = logSum(token);
      double mean = 0;
      for (int expert = 0; expert < count; expert++) {
        slopes[expert] = mixture.balance() * weight * excess(load, sequence, expert);
        mean += probability(token, expert, logSum) * slopes[expert];
      }
      double ofLogSum = 2 * mixture.zLoss() * weight * logSum;
      for (int expert = 0; expert < count; expert++) {
        gradients[token * count + expert] +=
            (float) (probability(token, expert, logSum) * (slopes[expert] - mean + ofLogSum));
      }
    }
  }

  private double excess(long[] load, int sequence, int expert) {
    int count = mixture.experts();
    long all = 0;
    for (int other = 0; other < count; other++) {
      all += load[sequence * count + other];
    }
    return (double) load[sequence * count + expert] * count / all;
  }
}
