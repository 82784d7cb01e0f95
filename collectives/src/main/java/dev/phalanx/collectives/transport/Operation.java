package dev.phalanx.collectives.transport;

import java.util.Locale;

/** The collective operations, by the names that messages and wire headers use. */
public enum Operation {
  ALL_REDUCE,
  REDUCE_SCATTER,
  ALL_GATHER,
  BROADCAST,
  BARRIER,
  REDUCE,
  GATHER,
  SCATTER,
  ALL_TO_ALL,
  /** A send and the receive that belongs to it. */
  TRANSFER;

  private final String label = name().toLowerCase(Locale.ROOT);

  /** {@code all_reduce}, for instance. */
  public String label() {
    return label;
  }
}
