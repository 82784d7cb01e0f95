package dev.phalanx.collectives.rendezvous;

import dev.phalanx.collectives.status.StatusBoard;
import java.util.List;
import java.util.function.Consumer;

/**
 * The job's ranks, complete, and this rank's connection to the rendezvous, through which it hears
 * of ranks that are lost.
 */
public final class Members implements AutoCloseable {
  private final List<RankAddress> ranks;
  private final RendezvousClient client;

  Members(List<RankAddress> ranks, RendezvousClient client) {
    this.ranks = List.copyOf(ranks);
    this.client = client;
  }

  /** All ranks, in order. */
  public List<RankAddress> ranks() {
    return ranks;
  }

  /**
   * A rank that has ended without leaving.
   *
   * @param reason a clause that goes on after its name; where another one was lost before, a
   *     sentence about that one follows
   */
  public record LostRank(int rank, String reason) {}

  /** From now on {@code listener} hears of lost ranks, and of those lost before. */
  public void onLost(Consumer<LostRank> listener) {
    client.onLost(listener);
  }

  /** Where the job's ranks are in the operations of their groups. */
  public StatusBoard statusBoard() {
    return client.statusBoard();
  }

  /** From now on this rank looks after what comes on its connections. Called once at most. */
  public void watch(Deliveries deliveries) {
    client.watch(deliveries);
  }

  /** Ends the connection as a process that is killed does. */
  void breakOff() {
    client.breakOff();
  }

  /** Leaves; the others do not hear of it as a loss. */
  @Override
  public void close() {
    client.close();
  }
}
