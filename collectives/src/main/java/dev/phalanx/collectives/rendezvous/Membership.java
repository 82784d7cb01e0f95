package dev.phalanx.collectives.rendezvous;

import java.net.InetSocketAddress;
import java.util.Optional;

/**
 * As whom a rank joins.
 *
 * @param fingerprint of what all ranks must have in common, the plan above all
 * @param dataAddress where this rank accepts data connections
 * @param sharedMemory what ranks that can share memory with this one give as well; empty: it cannot
 */
public record Membership(
    int rank,
    int worldSize,
    String fingerprint,
    InetSocketAddress dataAddress,
    Optional<String> sharedMemory) {
  /**
   * @throws IllegalArgumentException where the rank is below 0, which the wire has no number for
   */
  public Membership {
    if (rank < 0) {
      throw new IllegalArgumentException(
          "Rank " + rank + " cannot join: ranks run from 0 to " + (worldSize - 1));
    }
  }

  /** A rank that shares no memory. */
  public Membership(int rank, int worldSize, String fingerprint, InetSocketAddress dataAddress) {
    this(rank, worldSize, fingerprint, dataAddress, Optional.empty());
  }
}
