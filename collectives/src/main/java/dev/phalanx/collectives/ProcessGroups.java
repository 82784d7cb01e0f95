package dev.phalanx.collectives;

import java.io.IOException;
import java.util.List;

/**
 * Makes groups of a job's ranks, seen from one of them: any ranks, as many groups at once as are
 * wanted, overlapping or not.
 *
 * <p>Thread: any; groups are independent of each other.
 */
public interface ProcessGroups extends AutoCloseable {
  /** This rank's number in the job. */
  int rank();

  /** The number of ranks in the job. */
  int worldSize();

  /** The group of all ranks, {@code world}. The caller closes it. */
  Communicator world() throws IOException, InterruptedException;

  /**
   * A group of some ranks. All of them call it, with the same name and ranks, and nobody else.
   * Ranks of one host wait here for each other, so all ranks make the groups that they have in
   * common in the same order. The caller closes it.
   *
   * @param name for messages, and to tell groups apart; a group that is made again is another one
   * @param ranks of the job, this one among them, in the order of their numbers in the group
   */
  Communicator group(String name, List<Integer> ranks) throws IOException, InterruptedException;

  /** Ends this rank's membership in the job; groups are closed before. */
  @Override
  void close();
}
