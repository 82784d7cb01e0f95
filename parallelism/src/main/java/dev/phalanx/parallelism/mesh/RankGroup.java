package dev.phalanx.parallelism.mesh;

import dev.phalanx.collectives.Communicator;
import dev.phalanx.collectives.device.DeviceCollectives;
import dev.phalanx.collectives.device.Waiting;
import dev.phalanx.tensor.Arena;
import org.jspecify.annotations.Nullable;

/**
 * Ranks that divide something among them, seen from one of them. Its kinds say what they divide.
 *
 * <p>Used by the thread that trains.
 */
public abstract class RankGroup {
  /**
   * Which rank of how many, and how it talks to the others.
   *
   * @param collectives null: there is nobody to talk to
   */
  protected record Seat(@Nullable DeviceCollectives collectives, int rank, int size) {
    /** One rank alone. */
    public static final Seat ALONE = new Seat(null, 0, 1);

    /**
     * @param host an arena on the CPU, for numbers, and for copies where the communicator cannot
     *     read the device
     */
    public static Seat of(Communicator ranks, Arena host) {
      return new Seat(new DeviceCollectives(host, ranks), ranks.rank(), ranks.size());
    }

    /** Another rank's, which talks to nobody from here. */
    public Seat as(int otherRank) {
      return new Seat(null, otherRank, size);
    }
  }

  private final Seat seat;
  private final Waiting waiting = new Waiting();

  protected RankGroup(Seat seat) {
    this.seat = seat;
  }

  protected final Seat seat() {
    return seat;
  }

  public final int rank() {
    return seat.rank();
  }

  public final int size() {
    return seat.size();
  }

  /** Whether nothing is divided. */
  public final boolean isSingle() {
    return size() == 1;
  }

  /**
   * @throws IllegalStateException where there is nobody to talk to
   */
  protected final DeviceCollectives ranks() {
    if (seat.collectives() == null) {
      throw new IllegalStateException(
          "Rank "
              + rank()
              + " of "
              + size()
              + " is not this one, or alone: there is nobody to talk to");
    }
    return seat.collectives();
  }

  /** Waits in the midst of a pass. */
  public final void await(DeviceCollectives.Pending pending) {
    waiting.awaitInPass(pending::await);
  }

  /** Time that the training thread has waited for this group's ranks. */
  public final long exposedNanos() {
    return waiting.nanos();
  }
}
