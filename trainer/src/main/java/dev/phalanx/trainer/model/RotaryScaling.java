package dev.phalanx.trainer.model;

/**
 * What is done to the frequencies of rotary positions so that a trained model takes longer
 * sequences. It prints as plans write it.
 */
public sealed interface RotaryScaling {
  /**
   * @param frequency radians for each position
   */
  double scaled(double frequency);

  /** Frequencies as they follow from the base. */
  record None() implements RotaryScaling {
    @Override
    public double scaled(double frequency) {
      return frequency;
    }

    @Override
    public String toString() {
      return "{kind: none}";
    }
  }

  /**
   * Llama 3.1's (Grattafiori et al., 2024), with the numbers that its {@code config.json} gives. A
   * frequency is judged by its turns within the sequences of the first training: many turns tell
   * neighbours apart and stay, few tell how far away something is and become slower.
   *
   * <pre>
   *   frequency  |------------ / factor ------------|-- from one to the other --|----- as it was -----
   *   turns      0                      lowFrequencyFactor            highFrequencyFactor
   * </pre>
   *
   * @param factor at least 1
   * @param lowFrequencyFactor in turns
   * @param highFrequencyFactor in turns, more than the low one
   * @param originalSequence tokens of the sequences of the first training
   */
  record Llama3(
      double factor, double lowFrequencyFactor, double highFrequencyFactor, long originalSequence)
      implements RotaryScaling {

    public Llama3 {
      boolean isPossible =
          factor >= 1
              && lowFrequencyFactor > 0
              && highFrequencyFactor > lowFrequencyFactor
              && Double.isFinite(factor)
              && Double.isFinite(highFrequencyFactor)
              && originalSequence > 0;
      if (!isPossible) {
        throw new IllegalArgumentException(
            "its rotary scaling has factor %s, low and high frequency factors %s and %s and an original length of %d"
                .formatted(factor, lowFrequencyFactor, highFrequencyFactor, originalSequence));
      }
    }

    @Override
    public double scaled(double frequency) {
      double turns = originalSequence * frequency / (2 * Math.PI);
      double kept = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
      double share = Math.min(1, Math.max(0, kept));
      return share * frequency + (1 - share) * frequency / factor;
    }

    @Override
    public String toString() {
      return "{kind: llama3, factor: %s, low_freq_factor: %s, high_freq_factor: %s, original_sequence: %d}"
          .formatted(factor, lowFrequencyFactor, highFrequencyFactor, originalSequence);
    }
  }
}
