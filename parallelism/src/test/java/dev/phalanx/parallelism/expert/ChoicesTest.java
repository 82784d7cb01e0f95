package dev.phalanx.parallelism.expert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Which experts are chosen, and that gradients are those of what is computed. */
final class ChoicesTest {
  private static final int EXPERTS = 5;
  private static final int[] POSITIONS = {0, 1, 2};
  private static final int TOKENS = 6; // two sequences

  private static float[] logits(long seed) {
    Random random = new Random(seed);
    float[] logits = new float[TOKENS * EXPERTS];
    for (int i = 0; i < logits.length; i++) {
      logits[i] = (float) random.nextGaussian();
    }
    return logits;
  }

  private static Mixture mixture(int perToken, double balance, double zLoss) {
    return new Mixture(EXPERTS, perToken, balance, zLoss);
  }

  @ParameterizedTest
  @CsvSource({"1", "2", "5"})
  void theLargestLogitsAreTakenAndGatesAreTheirSoftmax(int perToken) {
    float[] logits = logits(3);
    Choices choices = new Choices(mixture(perToken, 0, 0), logits, POSITIONS);
    for (int token = 0; token < TOKENS; token++) {
      int first = token * EXPERTS;
      int[] sorted =
          IntStream.range(0, EXPERTS)
              .boxed()
              .sorted((a, b) -> Float.compare(logits[first + b], logits[first + a]))
              .mapToInt(Integer::intValue)
              .toArray();
      int[] chosen =
          Arrays.copyOfRange(choices.experts(), token * perToken, (token + 1) * perToken);
      assertThat(chosen).isEqualTo(Arrays.copyOf(sorted, perToken));
      int counted = perToken == 1 ? EXPERTS : perToken;
      double sum =
          IntStream.range(0, counted).mapToDouble(i -> Math.exp(logits[first + sorted[i]])).sum();
      for (int i = 0; i < perToken; i++) {
        assertThat((double) choices.gates()[token * perToken + i])
            .isCloseTo(Math.exp(logits[first + sorted[i]]) / sum, within(1e-6));
      }
    }
  }

  @Test
  void aRouterThatKnowsNothingSendsEquallyManyToEach() {
    int[] positions = IntStream.range(0, 10).toArray();
    Choices choices = new Choices(mixture(2, 0, 0), new float[20 * EXPERTS], positions);
    assertThat(choices.load(2)).containsOnly(4);
  }

  /** What a job that diverges sees: its loss will be no number, and so says the message. */
  @Test
  void logitsThatAreNoNumbersStillChooseDifferentExperts() {
    float[] logits = new float[EXPERTS];
    Arrays.fill(logits, Float.NaN);
    Choices choices = new Choices(mixture(3, 0, 0), logits, POSITIONS);
    assertThat(choices.experts()).doesNotHaveDuplicates();
    assertThat(choices.gates()).containsOnly(Float.NaN);
  }

  @ParameterizedTest
  @CsvSource({"1, 0, 0", "3, 0, 0", "1, 0.3, 0.2", "2, 0.3, 0", "2, 0, 0.2"})
  void gradientsAreThoseOfDifferences(int perToken, double balance, double zLoss) {
    Mixture mixture = mixture(perToken, balance, zLoss);
    float[] logits = logits(11);
    float[] gateGradients = new float[TOKENS * perToken];
    Random random = new Random(12);
    for (int i = 0; i < gateGradients.length; i++) {
      gateGradients[i] = (float) random.nextGaussian();
    }
    Choices choices = new Choices(mixture, logits, POSITIONS);
    long[] load = choices.load(2);
    double weight = 0.7;
    float[] gradients = choices.backward(logits, gateGradients);
    choices.addLosses(logits, load, weight, gradients);

    double width = 1e-2; // of the differences, second order: errors of 1e-4
    for (int i = 0; i < logits.length; i++) {
      double more = objective(mixture, shifted(logits, i, width), gateGradients, load, weight);
      double less = objective(mixture, shifted(logits, i, -width), gateGradients, load, weight);
      assertThat((double) gradients[i])
          .as("logit %d", i)
          .isCloseTo((more - less) / (2 * width), within(3e-4));
    }
  }

  private static float[] shifted(float[] logits, int index, double by) {
    float[] shifted = logits.clone();
    shifted[index] += (float) by;
    return shifted;
  }

  /** Gates times what their gradients are given as, and the router's losses from their formulas. */
  private static double objective(
      Mixture mixture, float[] logits, float[] gateGradients, long[] load, double weight) {
    Choices choices = new Choices(mixture, logits, POSITIONS);
    double sum = 0;
    for (int i = 0; i < gateGradients.length; i++) {
      sum += (double) choices.gates()[i] * gateGradients[i];
    }
    int tokensOfSequence = TOKENS / 2;
    for (int token = 0; token < TOKENS; token++) {
      double all = 0;
      for (int expert = 0; expert < EXPERTS; expert++) {
        all += Math.exp(logits[token * EXPERTS + expert]);
      }
      sum += weight * mixture.zLoss() * Math.pow(Math.log(all), 2);
      for (int expert = 0; expert < EXPERTS; expert++) {
        double probability = Math.exp(logits[token * EXPERTS + expert]) / all;
        double share =
            (double) load[token / tokensOfSequence * EXPERTS + expert]
                / (mixture.perToken() * tokensOfSequence);
        sum += weight * mixture.balance() * EXPERTS * share * probability;
      }
    }
    return sum;
  }
}
