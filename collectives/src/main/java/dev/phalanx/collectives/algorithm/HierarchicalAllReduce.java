package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.LinkCost;
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
  /** Large enough for the cost of its messages to vanish. */
  private static final long SEGMENT_BYTES = 4 << 20;

  private static final int MOST_SEGMENTS = 32;

  private HierarchicalAllReduce() {}

  static double cost(int ranksOfHost, LinkCost within, int hosts, LinkCost between, long bytes) {
    return RingAllReduce.cost(ranksOfHost, bytes, within)
        + RingAllReduce.cost(hosts, bytes, between);
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
    Chunk whole = exchange.whole(tensor);
    if (isEven) {
      runSegments(within, exchange.subset(counterparts), whole, inHost, operation);
    } else if (local == 0) {
      for (int peer = 1; peer < within.size(); peer++) {
        within.receiveAndReduce(peer, tensor.dtype(), inHost, whole);
      }
      RingAllReduce.around(exchange.subset(counterparts), whole, operation);
      for (int peer = 1; peer < within.size(); peer++) {
        within.send(peer, whole);
      }
    } else {
      within.send(0, whole);
      within.receive(0, whole);
    }
    exchange.flush();
  }

  /**
   * Segment after segment, each a stage behind the one before it: while a host's ranks add up one,
   * the network carries others. All ranks go by the same timetable, so that what one sends comes in
   * the order in which the other one takes it.
   */
  private static void runSegments(
      Exchange within,
      Exchange between,
      Chunk whole,
      ReduceOperation inHost,
      ReduceOperation operation)
      throws InterruptedException {
    long bytes = whole.tensor().dtype().bytes(whole.elements());
    int segments = (int) Math.max(1, Math.min(MOST_SEGMENTS, bytes / SEGMENT_BYTES));
    int stages = RingAllReduce.stages(between.size());
    for (int time = 0; time < segments + stages - 1; time++) {
      for (int stage = Math.max(0, time - segments + 1); stage < stages; stage++) {
        if (stage > time) {
          break;
        }
        Chunk segment = whole.part(time - stage, segments);
        if (stage == 0 && within.size() > 1) {
          RingReduceScatter.around(within, segment, inHost);
        }
        RingAllReduce.run(between, within.part(segment, within.rank()), operation, stage);
        if (stage == stages - 1 && within.size() > 1) {
          RingAllGather.around(within, part -> within.part(segment, part));
        }
      }
    }
  }
}
