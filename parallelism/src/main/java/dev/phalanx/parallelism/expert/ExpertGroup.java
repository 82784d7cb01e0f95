package dev.phalanx.parallelism.expert;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.parallelism.mesh.RankGroup;
import dev.phalanx.tensor.Arena;
import dev.phalanx.tensor.HostArrays;
import dev.phalanx.tensor.Tensor;
import java.util.Arrays;

/**
 * The ranks that divide the experts of each layer among them, seen from one of them. Each has
 * tokens of its own; what is not an expert all of them have.
 *
 * <p>Used by the thread that trains.
 */
public final class ExpertGroup extends RankGroup {
  private ExpertGroup(Seat seat) {
    super(seat);
  }

  /** One rank, which has all experts. */
  public static ExpertGroup single() {
    return new ExpertGroup(Seat.ALONE);
  }

  /**
   * @param host an arena on the CPU, for counts, and for copies where the communicator cannot read
   *     the device
   */
  public static ExpertGroup of(Communicator ranks, Arena host) {
    return new ExpertGroup(Seat.of(ranks, host));
  }

  /** What another rank's share of everything is; it talks to nobody. */
  public ExpertGroup as(int otherRank) {
    return new ExpertGroup(seat().as(otherRank));
  }

  /**
   * How many experts each rank has.
   *
   * @throws IllegalArgumentException where ranks would have different numbers of them
   */
  int own(int experts) {
    if (experts % size() != 0) {
      throw new IllegalArgumentException(
          experts + " experts are not divided evenly among " + size() + " ranks");
    }
    return experts / size();
  }

  /**
   * Tells each rank how many rows it gets.
   *
   * @param counts [experts] of this rank's rows
   * @return [size * own experts] of the rows that come: rank after rank, for each expert here
   */
  long[] exchangeCounts(long[] counts) {
    long[] each = new long[size()];
    Arrays.fill(each, counts.length / size());
    try (Tensor sent = ranks().numbers(counts);
        Tensor received = ranks().numbers(asIfAlike(counts))) {
      await(ranks().allToAll(sent, each, received, each));
      return HostArrays.downloadLongs(received);
    }
  }

  /**
   * What a plan that is only calculated, whose ranks tell each other nothing, goes on with: others
   * send here what goes to this rank's experts from here.
   */
  private long[] asIfAlike(long[] counts) {
    int own = counts.length / size();
    long[] arriving = new long[counts.length];
    for (int source = 0; source < size(); source++) {
      System.arraycopy(counts, rank() * own, arriving, source * own, own);
    }
    return arriving;
  }

  /**
   * Rows to their experts' ranks, or back.
   *
   * @param rows [n, d], for rank 0, for rank 1 and so on
   * @param counts [size] of them
   * @param received [m, d], of rank 0, of rank 1 and so on
   * @param receivedCounts [size] of them
   */
  void exchange(Tensor rows, long[] counts, Tensor received, long[] receivedCounts) {
    long width = rows.size(1);
    await(
        ranks().allToAll(rows, elements(counts, width), received, elements(receivedCounts, width)));
  }

  private static long[] elements(long[] rows, long width) {
    return Arrays.stream(rows).map(count -> count * width).toArray();
  }
}
