package dev.phalanx.collectives.transport;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Where the ranks of a group are and how they reach each other. The same on all ranks, for they
 * choose algorithms by it.
 *
 * @param name of what moves the bytes, as reports and plan files call it
 * @param hosts the host of each rank, by any number
 * @param within the cost of a message between ranks of a host
 * @param between the cost of a message between hosts
 * @param pieceBytes the payload that suits the links best: small enough to overlap transfer and
 *     reduction, large enough for the cost of a message to vanish; no payload is longer
 */
public record Topology(
    String name, List<Integer> hosts, LinkCost within, LinkCost between, int pieceBytes) {
  public Topology {
    hosts = List.copyOf(hosts);
  }

  /** All ranks on one host. */
  public static Topology ofOneHost(String name, int size, LinkCost cost, int pieceBytes) {
    return new Topology(
        name, IntStream.range(0, size).mapToObj(rank -> 0).toList(), cost, cost, pieceBytes);
  }

  /** Whether all ranks are on one host. */
  public boolean isOneHost() {
    return hosts.stream().allMatch(hosts.get(0)::equals);
  }

  /** Ranks on the host of {@code rank}. */
  public int ranksOfHost(int rank) {
    return (int) hosts.stream().filter(hosts.get(rank)::equals).count();
  }

  /** The ranks of each host, in order. */
  public List<List<Integer>> ranksByHost() {
    List<List<Integer>> groups = new ArrayList<>();
    for (int host : hosts.stream().distinct().toList()) {
      groups.add(
          IntStream.range(0, hosts.size())
              .filter(rank -> hosts.get(rank) == host)
              .boxed()
              .toList());
    }
    return groups;
  }

  /** The cost of a message between two neighbours of a ring of all ranks, where it is highest. */
  public LinkCost slowest() {
    return isOneHost() ? within : between;
  }
}
