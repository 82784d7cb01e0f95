package dev.phalanx.collectives;

import dev.phalanx.collectives.status.LocalStatusBoard;
import dev.phalanx.collectives.status.StatusBoard;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.InProcessNetwork;
import dev.phalanx.collectives.transport.Transport;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;

/** A job whose ranks are threads of this JVM. */
public final class InProcessGroups {
  private static final String WORLD = "world";

  private final int worldSize;
  private final GroupOptions options;
  private final StatusBoard board = new LocalStatusBoard();
  private final Map<GroupId, InProcessNetwork> networks = new ConcurrentHashMap<>();

  public InProcessGroups(int worldSize, GroupOptions options) {
    this.worldSize = worldSize;
    this.options = options;
  }

  /** The job as a rank sees it. */
  public ProcessGroups ofRank(int rank) {
    return new OfRank(rank);
  }

  private final class OfRank implements ProcessGroups {
    private final int rank;
    private final GroupNumbers numbers = new GroupNumbers();

    OfRank(int rank) {
      this.rank = rank;
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
      return group(WORLD, IntStream.range(0, worldSize).boxed().toList());
    }

    @Override
    public Communicator group(String name, List<Integer> ranks) {
      GroupMembers members = new GroupMembers(name, ranks, rank, worldSize);
      GroupId id = numbers.next(members);
      InProcessNetwork network =
          networks.computeIfAbsent(id, absent -> new InProcessNetwork(ranks.size()));
      Transport transport = network.transport(members.ownIndex());
      if (network.isTaken()) {
        networks.remove(id);
      }
      return new QueuedCommunicator(members, transport, options, board);
    }

    @Override
    public void close() {}
  }
}
