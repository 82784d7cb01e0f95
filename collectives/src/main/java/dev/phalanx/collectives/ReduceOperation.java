package dev.phalanx.collectives;

/** How the values of the ranks become one. */
public enum ReduceOperation {
  SUM,
  /** The sum divided by the number of ranks. */
  AVERAGE,
  MINIMUM,
  MAXIMUM
}
