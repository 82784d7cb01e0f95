package dev.phalanx.collectives;

import java.util.HashSet;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A group's name and ranks, seen from one of them.
 *
 * @param ranks of the job, in the order of their numbers in the group
 * @param rank this one's number in the job
 */
public record GroupMembers(String name, List<Integer> ranks, int rank, int worldSize) {
  /**
   * @throws IllegalArgumentException where these ranks are no group, or this one is not in it
   */
  public GroupMembers {
    ranks = List.copyOf(ranks);
    if (!ranks.contains(rank)) {
      throw new IllegalArgumentException(
          "Rank " + rank + " is not in group " + name + " of ranks " + ranks);
    }
    if (new HashSet<>(ranks).size() != ranks.size()) {
      throw new IllegalArgumentException("Group " + name + " has a rank twice: " + ranks);
    }
    for (int one : ranks) {
      if (one < 0 || one >= worldSize) {
        throw new IllegalArgumentException(
            "Group " + name + " has rank " + one + " and the job only " + worldSize + " ranks");
      }
    }
  }

  /** A group of which only the name and the size matter, all ranks of a job. */
  public static GroupMembers world(String name, int rank, int size) {
    return new GroupMembers(name, IntStream.range(0, size).boxed().toList(), rank, size);
  }

  private boolean isWorld() {
    return ranks.size() == worldSize
        && IntStream.range(0, worldSize).allMatch(index -> ranks.get(index) == index);
  }

  /** The name, with the ranks where these are not all of the job's: no other group's. */
  String title() {
    return isWorld() ? name : name + " of ranks " + ranks;
  }

  /** The number in the job, which messages name, of a rank of the group. */
  int inTheJob(int index) {
    return ranks.get(index);
  }

  /** This rank as messages name it: {@code rank 3/8}, numbers of the job. */
  String self() {
    return "rank " + rank + "/" + worldSize;
  }

  /** This rank's number in the group. */
  public int ownIndex() {
    return ranks.indexOf(rank);
  }
}
