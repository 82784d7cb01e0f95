package dev.phalanx.parallelism.mesh;

import java.util.Locale;

/** The ways in which work is divided between ranks, named as plan files name them. */
public enum Axis {
  /** Parts of each matrix. */
  TENSOR,
  /** Parts of each sequence. */
  CONTEXT,
  /** Parts of each batch. */
  DATA,
  /** Runs of layers. */
  PIPELINE,
  /** Experts of a mixture. */
  EXPERT;

  /** The name in plan files and reports, {@code "data"} for instance. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }
}
