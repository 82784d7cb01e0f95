package dev.phalanx.collectives.rendezvous;

import dev.phalanx.collectives.transport.GroupId;
import java.util.OptionalLong;

/**
 * What two ranks tell each other, by way of the rendezvous, of the connection between them: it may
 * carry nothing any more while either side takes it for open.
 *
 * <p>Thread: the rendezvous' own, one call at a time. Ranks are the job's.
 */
public interface Deliveries {
  /**
   * One way between two ranks of a group.
   *
   * @param stream of those from one rank to the other, from 0
   */
  record Way(GroupId group, int stream) {}

  /** Asks a rank how much it has handed to the network for this one. */
  interface Question {
    void ask(int rank, Way way);
  }

  /** Called every second. */
  void look(Question question);

  /**
   * How much this rank has handed to the network for one that asks; empty where it is not known.
   */
  OptionalLong handedOver(int asking, Way way);

  /** What another rank has handed over for this one. */
  void answered(int rank, Way way, long handedOver);
}
