package dev.phalanx.collectives.transport.tcp;

/**
 * Names a group of ranks on the wire.
 *
 * @param number the same on all its ranks, and no other group's
 * @param generation how often the job's ranks have come together anew; connections of an earlier
 *     generation are refused
 */
public record GroupId(int number, int generation) {
  /** All ranks of a job that has not been restarted. */
  public static final GroupId WORLD = new GroupId(0, 0);

  @Override
  public String toString() {
    return "group " + number + " generation " + generation;
  }
}
