package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * All-reduce within each host, then between hosts (as in Horovod and NCCL's trees): the ranks of a
 * host reduce-scatter among themselves, those with the same part all-reduce it over the network,
 * and a host's ranks gather the parts. Each byte of a tensor crosses a host's link twice (h - 1) /
 * h times, however many ranks the host has.
 *
 * <p>Where hosts have different numbers of ranks, one of each host does all for it.
 *
 * <p>Cost for l ranks on each of h hosts, α' and β' within a host: 2 (l - 1) α' + 2 (l - 1) / l m
 * β' + 2 (h - 1) α + 2 (h - 1) / h m β, the link of a host being shared by its ranks. A rank sends
 * 2 (l - 1) / l m bytes within its host and 2 (h - 1) / h m / l to others.
 */
public final class HierarchicalAllReduce {
  private HierarchicalAllReduce() {}

  static double cost(Topology topology, long bytes) {
    List<List<Integer>> hosts = topology.ranksByHost();
    int most = hosts.stream().mapToInt(List::size).max().orElse(1);
    return RingAllReduce.cost(most, bytes, topology.within())
        + RingAllReduce.cost(hosts.size(), bytes, topology.between());
  }

  public static void run(Exchange exchange, Tensor tensor, ReduceOperation operation)
      throws InterruptedException {
    List<List<Integer>> hosts = exchange.topology().ranksByHost();
    List<Integer> host =
        hosts.stream().filter(ranks -> ranks.contains(exchange.rank())).findFirst().orElseThrow();
    int local = host.indexOf(exchange.rank());
    boolean isEven = hosts.stream().map(List::size).distinct().count() == 1;
    // The last reduction, between hosts, makes the average.
    ReduceOperation inHost = operation == ReduceOperation.AVERAGE ? ReduceOperation.SUM : operation;
    Exchange within = exchange.subset(host);
    List<Integer> counterparts = new ArrayList<>();
    hosts.forEach(ranks -> counterparts.add(ranks.get(isEven ? local : 0)));
    if (isEven) {
      if (within.size() > 1) {
        RingReduceScatter.around(within, exchange.whole(tensor), inHost, local - 1, false);
      }
      Chunk part = within.part(tensor, local);
      RingAllReduce.around(exchange.subset(counterparts), part, operation);
      RingAllGather.around(within, tensor, Parts.of(counts(within, tensor)));
    } else {
      reduceToFirst(within, tensor, inHost);
      Chunk whole = exchange.whole(tensor);
      if (local == 0) {
        RingAllReduce.around(exchange.subset(counterparts), whole, operation);
        for (int peer = 1; peer < within.size(); peer++) {
          within.send(peer, whole);
        }
      } else {
        within.receive(0, whole);
      }
    }
    exchange.flush();
  }

  private static long[] counts(Exchange within, Tensor tensor) {
    long[] counts = new long[within.size()];
    for (int part = 0; part < counts.length; part++) {
      counts[part] = within.part(tensor, part).elements();
    }
    return counts;
  }

  private static void reduceToFirst(Exchange within, Tensor tensor, ReduceOperation operation)
      throws InterruptedException {
    Chunk whole = within.whole(tensor);
    if (within.rank() == 0) {
      for (int peer = 1; peer < within.size(); peer++) {
        within.receiveAndReduce(peer, tensor.dtype(), operation, whole);
      }
    } else {
      within.send(0, whole);
    }
  }
}
