package dev.phalanx.launcher.process;

/** How a group of workers ended. No process of it is left. */
public sealed interface GroupOutcome {
  /** Every rank finished its job without an error. */
  record Finished() implements GroupOutcome {}

  /** A rank failed, and the others were ended. */
  record Failed(RankFailure rootCause) implements GroupOutcome {}

  /** All were killed because the user did not want to wait any longer. */
  record Killed() implements GroupOutcome {}
}
