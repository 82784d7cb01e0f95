package dev.phalanx.trainer.config;

import java.util.Locale;
import java.util.Optional;

/**
 * One of a closed set of words that a key of the plan file may have as its value; an enum
 * implements it.
 */
public interface Choice {
  /** The enum constant's name. */
  String name();

  /** The word as the plan file writes it: {@code halving_doubling} for {@code HALVING_DOUBLING}. */
  default String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** What to do instead of writing a word that is none of the set; empty: nothing special. */
  default Optional<String> insteadOf(String word) {
    return Optional.empty();
  }
}
