package dev.phalanx.collectives.algorithm;

import java.util.Locale;

/**
 * The families of algorithms that a plan may ask for. An operation that has none of a family takes
 * the one that {@link #AUTO} would.
 */
public enum Algorithm {
  /** By size, ranks and links, see {@link Selection}. */
  AUTO,
  RING,
  TREE,
  HALVING_DOUBLING,
  DIRECT,
  HIERARCHICAL;

  /** As plan files and commands write it. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }
}
