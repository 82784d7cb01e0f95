package dev.phalanx.trainer.config;

import java.util.Locale;

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
}
