package dev.phalanx.trainer.rehearsal;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ProcessGroups;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The groups of one rank of a job whose other ranks are not there: what it would send is counted.
 */
public final class RehearsalGroups implements ProcessGroups {
  private final int rank;
  private final int worldSize;
  private final boolean isAlike;
  private final RehearsalCommunicator world;

  public RehearsalGroups(int rank, int worldSize) {
    this(rank, worldSize, false);
  }

  private RehearsalGroups(int rank, int worldSize, boolean isAlike) {
    this.rank = rank;
    this.worldSize = worldSize;
    this.isAlike = isAlike;
    this.world = communicator("world", IntStream.range(0, worldSize).boxed().toList());
  }

  /**
   * Groups for a model that computes: its ranks tell each other what must fit together, so all of
   * them have what this one has. Sums are left as this rank's own.
   */
  public static RehearsalGroups alike(int rank, int worldSize) {
    return new RehearsalGroups(rank, worldSize, true);
  }

  private RehearsalCommunicator communicator(String name, List<Integer> ranks) {
    return isAlike
        ? new AlikeCommunicator(name, ranks.indexOf(rank), ranks.size())
        : new RehearsalCommunicator(name, ranks.indexOf(rank), ranks.size());
  }

  @Override
  public int rank() {
    return rank;
  }

  @Override
  public int worldSize() {
    return worldSize;
  }

  @Override
  public Communicator world() {
    return world;
  }

  @Override
  public Communicator group(String name, List<Integer> ranks) {
    return communicator(name, ranks);
  }

  /** What this rank has sent so far in some of its groups. */
  public static SentOperations sent(List<Communicator> groups) {
    SentOperations all = new SentOperations();
    for (Communicator group : groups) {
      all.add(((RehearsalCommunicator) group).sent());
    }
    return all;
  }

  @Override
  public void close() {
    // nothing is open
  }
}
