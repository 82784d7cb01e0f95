package dev.phalanx.collectives.transport;

import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.List;

/**
 * Where a rank listens for its peers, and from where it connects to them. One serves all groups of
 * a rank. Two ranks of a group are connected from the moment that one of them needs it.
 *
 * <p>Thread: any.
 */
public interface Endpoint extends AutoCloseable {
  /** Where peers reach this endpoint. */
  InetSocketAddress address();

  /** Of what moves the bytes, as reports and plan files call it. */
  String name();

  /** What a message costs. */
  LinkCost cost();

  /** The payload that suits the links best. */
  int pieceBytes();

  /**
   * This rank's links to the others of a group. They are opened when they are used first, by
   * whoever needs one.
   *
   * @param rank this rank's number in the group
   * @param members every rank's address, in order
   * @param timeout for a connection to be opened
   * @return by peer; what stands at this rank's own place is not used
   */
  List<Link> links(GroupId group, int rank, List<InetSocketAddress> members, Duration timeout);

  /** Stops listening and closes what is still open. */
  @Override
  void close();
}
