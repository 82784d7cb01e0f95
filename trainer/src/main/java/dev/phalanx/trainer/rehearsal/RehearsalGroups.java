package dev.phalanx.trainer.rehearsal;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.ProcessGroups;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The groups of one rank of a job whose other ranks are not there: what it would send is counted.
 */
public final class RehearsalGroups implements ProcessGroups {
  private final int rank;
  private final int worldSize;
  private final List<RehearsalCommunicator> communicators = new ArrayList<>();
  private final RehearsalCommunicator world;

  public RehearsalGroups(int rank, int worldSize) {
    this.rank = rank;
    this.worldSize = worldSize;
    this.world = add("world", IntStream.range(0, worldSize).boxed().toList());
  }

  private RehearsalCommunicator add(String name, List<Integer> ranks) {
    RehearsalCommunicator communicator =
        new RehearsalCommunicator(name, ranks.indexOf(rank), ranks.size());
    communicators.add(communicator);
    return communicator;
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
    return add(name, ranks);
  }

  /** What has been sent so far, in all groups. */
  public SentOperations sent() {
    SentOperations all = new SentOperations();
    communicators.forEach(communicator -> all.add(communicator.sent()));
    return all;
  }

  @Override
  public void close() {
    // nothing is open
  }
}
