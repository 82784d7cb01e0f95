package dev.phalanx.collectives.algorithm;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.tensor.Tensor;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Recursive halving and doubling (Rabenseifner, 2004, "Optimization of collective reduction
 * operations"; Thakur, Rabenseifner and Gropp, 2005): partners exchange halves of what they still
 * have, at half the distance each time, until every rank has one part of the result; then the same
 * way back.
 *
 * <p>It needs a power of two of ranks. With r ranks more than that, the first r ranks of an even
 * number hand their values to the rank after them, sit out, and get the result in the end.
 *
 * <p>Cost: 2 log2 p α + 2 (p - 1) / p m β for p ranks, a power of two; 2 α + 2 m β more otherwise.
 * A step begins when the one before is over, where the pieces of a ring follow each other: the
 * model takes an eighth more for that.
 *
 * <p>Where p divides the elements a rank in the middle of it sends 2 (p - 1) / p m bytes, and m
 * more where it has a partner that sits out, who sends m.
 */
public final class HalvingDoublingAllReduce {
  private HalvingDoublingAllReduce() {}

  static double cost(int ranks, long bytes, LinkCost link) {
    int core = Integer.highestOneBit(ranks);
    int steps = Integer.numberOfTrailingZeros(core);
    double cost =
        2 * steps * link.alphaNanos() + 2.25 * (core - 1) / core * bytes * link.betaNanos();
    return core == ranks ? cost : cost + 2 * (link.alphaNanos() + bytes * link.betaNanos());
  }

  public static void run(Exchange exchange, Tensor tensor, ReduceOperation operation)
      throws InterruptedException {
    int rank = exchange.rank();
    int core = Integer.highestOneBit(exchange.size());
    int surplus = exchange.size() - core;
    boolean hasPartner = rank < 2 * surplus;
    Chunk whole = exchange.whole(tensor);
    if (hasPartner && rank % 2 == 0) {
      exchange.send(rank + 1, whole);
      exchange.receive(rank + 1, whole);
    } else {
      if (hasPartner) {
        exchange.receiveAndReduce(rank - 1, tensor.dtype(), operation, whole);
      }
      List<Integer> members =
          IntStream.range(0, exchange.size())
              .filter(member -> member >= 2 * surplus || member % 2 == 1)
              .boxed()
              .toList();
      runCore(exchange.subset(members), tensor, operation);
      if (hasPartner) {
        exchange.send(rank - 1, whole);
      }
    }
    exchange.flush();
  }

  private static void runCore(Exchange exchange, Tensor tensor, ReduceOperation operation)
      throws InterruptedException {
    int rank = exchange.rank();
    long first = 0;
    long elements = tensor.elementCount();
    int distance = exchange.size() / 2;
    int steps = Integer.numberOfTrailingZeros(exchange.size());
    long[] firsts = new long[steps];
    long[] counts = new long[steps];
    for (int step = 0; step < steps; step++, distance /= 2) {
      firsts[step] = first;
      counts[step] = elements;
      int partner = rank ^ distance;
      long half = elements / 2;
      boolean keepsLower = rank < partner;
      Chunk lower = exchange.range(tensor, first, half);
      Chunk upper = exchange.range(tensor, first + half, elements - half);
      exchange.send(partner, keepsLower ? upper : lower);
      exchange.receiveAndReduce(partner, tensor.dtype(), operation, keepsLower ? lower : upper);
      first = keepsLower ? first : first + half;
      elements = keepsLower ? half : elements - half;
    }
    exchange.finishReduction(tensor.dtype(), operation, exchange.range(tensor, first, elements));
    for (int step = steps - 1; step >= 0; step--) {
      distance = exchange.size() >> (step + 1);
      int partner = rank ^ distance;
      exchange.send(partner, exchange.range(tensor, first, elements));
      boolean hasLower = rank < partner;
      long otherFirst = hasLower ? first + elements : firsts[step];
      exchange.receive(partner, exchange.range(tensor, otherFirst, counts[step] - elements));
      first = firsts[step];
      elements = counts[step];
    }
  }
}
