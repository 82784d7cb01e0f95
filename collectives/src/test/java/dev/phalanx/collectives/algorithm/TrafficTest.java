package dev.phalanx.collectives.algorithm;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.HostTensors;
import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.Traffic;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.InProcessNetwork;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What every rank sends is what the formulas of the algorithms' Javadoc say, to the byte and the
 * message, also where the ranks do not divide the elements.
 */
@Timeout(60)
final class TrafficTest {
  private static final int MOST_RANKS = 9;
  private static final int PIECE_ELEMENTS = 16;

  /** Fewer than ranks, a multiple of all numbers of ranks, a prime, several pieces each. */
  private static final int[] COUNTS = {0, 1, 5, 2520, 1009};

  private static final ReduceOperation SUM = ReduceOperation.SUM;

  private final ExecutorService threads = Executors.newCachedThreadPool();

  @AfterEach
  void stopThreads() {
    threads.shutdownNow();
  }

  private interface Body {
    void run(Exchange exchange) throws InterruptedException;
  }

  /** Messages' lengths in elements, which become pieces. */
  private interface Formula {
    List<Integer> chunks(int rank);
  }

  private static int pieces(int elements) {
    return Math.max(1, (elements + PIECE_ELEMENTS - 1) / PIECE_ELEMENTS);
  }

  private void check(String what, int size, Formula formula, Body body) throws Exception {
    check(what, IntStream.range(0, size).map(rank -> 0).boxed().toList(), formula, body);
  }

  /**
   * @param hosts of each rank
   */
  private void check(String what, List<Integer> hosts, Formula formula, Body body)
      throws Exception {
    InProcessNetwork network = new InProcessNetwork(hosts.size());
    LinkCost cost = new LinkCost(1000, 1);
    Topology topology = new Topology("test", hosts, cost, cost, PIECE_ELEMENTS * Float.BYTES);
    List<Future<Traffic>> futures = new ArrayList<>();
    for (int rank = 0; rank < hosts.size(); rank++) {
      Exchange exchange =
          new Exchange(
              new Transport(rank, topology, network.links(rank)),
              Duration.ofSeconds(20),
              peer -> peer);
      futures.add(
          threads.submit(
              () -> {
                exchange.begin(new Call(0, Operation.ALL_REDUCE, DType.FLOAT32, SUM, -1, 0));
                body.run(exchange);
                return exchange.traffic();
              }));
    }
    for (int rank = 0; rank < hosts.size(); rank++) {
      List<Integer> chunks = formula.chunks(rank);
      assertThat(futures.get(rank).get(30, SECONDS))
          .as("%s, rank %d of %d", what, rank, hosts.size())
          .isEqualTo(
              new Traffic(
                  chunks.stream().mapToLong(chunk -> (long) chunk * Float.BYTES).sum(),
                  chunks.stream().mapToLong(TrafficTest::pieces).sum()));
    }
  }

  private static Tensor tensor(int count) {
    return HostTensors.of(DType.FLOAT32, count, i -> i % 3);
  }

  /**
   * Elements of part {@code index}, counted around the ring; the first parts are the longer ones.
   */
  private static int part(int count, int size, int index) {
    int number = Math.floorMod(index, size);
    return count / size + (number < count % size ? 1 : 0);
  }

  private static List<Integer> repeat(int times, int elements) {
    return Collections.nCopies(times, elements);
  }

  /** All parts but one. */
  private static List<Integer> allBut(int missing, int count, int size) {
    return IntStream.range(0, size)
        .filter(index -> index != Math.floorMod(missing, size))
        .mapToObj(index -> part(count, size, index))
        .toList();
  }

  private static List<Integer> join(List<Integer> first, List<Integer> second) {
    List<Integer> both = new ArrayList<>(first);
    both.addAll(second);
    return both;
  }

  /** 2 (p - 1) / p n where p divides n. */
  private static List<Integer> ring(int rank, int count, int size) {
    return size == 1
        ? List.of()
        : join(allBut(rank + 1, count, size), allBut(rank + 2, count, size));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 4, 8, 9})
  void aRingSendsTwoTimesAllButOneOfItsParts(int size) throws Exception {
    for (int count : COUNTS) {
      check(
          "ring all-reduce of " + count,
          size,
          rank -> ring(rank, count, size),
          exchange -> RingAllReduce.run(exchange, tensor(count), SUM));
    }
    check(
        "ring all-reduce of 2520",
        4,
        rank -> repeat(6, 630), // 2 (p - 1) / p n
        exchange -> RingAllReduce.run(exchange, tensor(2520), SUM));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 5, 9})
  void halfAnAllReduceSendsHalfAsMuch(int size) throws Exception {
    for (int part : new int[] {0, 1, 101}) {
      List<Integer> others = repeat(size - 1, part);
      check(
          "ring reduce-scatter",
          size,
          rank -> others,
          exchange -> RingReduceScatter.run(exchange, tensor(part * size), tensor(part), SUM));
      check(
          "direct reduce-scatter",
          size,
          rank -> others,
          exchange -> DirectReduceScatter.run(exchange, tensor(part * size), tensor(part), SUM));
      Parts parts = Parts.equal(size, (long) part * size);
      check(
          "ring all-gather",
          size,
          rank -> others,
          exchange -> RingAllGather.run(exchange, tensor(part), tensor(part * size), parts));
      check(
          "direct all-gather",
          size,
          rank -> others,
          exchange -> DirectAllGather.run(exchange, tensor(part), tensor(part * size), parts));
      check(
          "all-to-all",
          size,
          rank -> others,
          exchange ->
              PairwiseAllToAll.run(
                  exchange, tensor(part * size), parts, tensor(part * size), parts));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 5})
  void unequalPartsGoAroundOnceEach(int size) throws Exception {
    long[] counts = new long[size];
    Arrays.setAll(counts, rank -> 50L * (rank % 3));
    Parts parts = Parts.of(counts);
    check(
        "ring all-gather",
        size,
        rank ->
            IntStream.range(0, size)
                .filter(index -> index != (rank + 1) % size)
                .mapToObj(index -> (int) counts[index])
                .toList(),
        exchange ->
            RingAllGather.run(
                exchange,
                tensor((int) counts[exchange.rank()]),
                tensor((int) parts.total()),
                parts));
    check(
        "direct all-gather",
        size,
        rank -> repeat(size - 1, (int) counts[rank]),
        exchange ->
            DirectAllGather.run(
                exchange,
                tensor((int) counts[exchange.rank()]),
                tensor((int) parts.total()),
                parts));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 7})
  void directAllReduceSendsEverythingToEverybody(int size) throws Exception {
    for (int count : COUNTS) {
      check(
          "direct all-reduce of " + count,
          size,
          rank -> repeat(size - 1, count),
          exchange -> DirectAllReduce.run(exchange, tensor(count), SUM));
    }
  }

  /** On one host, and between hosts, where pieces go ahead. */
  @ParameterizedTest
  @ValueSource(ints = {2, 3, 7})
  void twoShotsSendWhatARingDoes(int size) throws Exception {
    for (int count : COUNTS) {
      for (int hosts : new int[] {1, size}) {
        check(
            "two-shot all-reduce of " + count,
            IntStream.range(0, size).mapToObj(rank -> rank % hosts).toList(),
            rank -> join(allBut(rank, count, size), repeat(size - 1, part(count, size, rank))),
            exchange -> TwoShotAllReduce.run(exchange, tensor(count), SUM));
      }
    }
  }

  private static int children(BinaryTree tree) {
    return (tree.left() >= 0 ? 1 : 0) + (tree.right() >= 0 ? 1 : 0);
  }

  private static int neighbours(BinaryTree tree) {
    return children(tree) + (tree.isRoot() ? 0 : 1);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9})
  void twoTreesSendHalfOfItToEachNeighbour(int size) throws Exception {
    for (int count : COUNTS) {
      check(
          "tree all-reduce of " + count,
          size,
          rank ->
              join(
                  repeat(neighbours(BinaryTree.first(rank, size)), (count + 1) / 2),
                  repeat(neighbours(BinaryTree.second(rank, size)), count / 2)),
          exchange -> DoubleBinaryTreeAllReduce.run(exchange, tensor(count), SUM));
    }
  }

  private static List<Integer> halvingDoubling(int rank, int count, int size) {
    int core = Integer.highestOneBit(size);
    int surplus = size - core;
    if (rank < 2 * surplus && rank % 2 == 0) {
      return List.of(count); // it sits out
    }
    int member = rank < 2 * surplus ? rank / 2 : rank - surplus;
    List<Integer> chunks = new ArrayList<>();
    int elements = count;
    for (int distance = core / 2; distance > 0; distance /= 2) {
      boolean keepsLower = (member & distance) == 0;
      int kept = keepsLower ? elements / 2 : elements - elements / 2;
      chunks.add(elements - kept); // on the way there
      chunks.add(kept); // on the way back
      elements = kept;
    }
    if (rank < 2 * surplus) {
      chunks.add(count); // to the one that sat out
    }
    return chunks;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9})
  void halvingAndDoublingSendsLikeARingAndMoreForThoseThatSitOut(int size) throws Exception {
    for (int count : COUNTS) {
      check(
          "halving and doubling of " + count,
          size,
          rank -> halvingDoubling(rank, count, size),
          exchange -> HalvingDoublingAllReduce.run(exchange, tensor(count), SUM));
    }
    int core = Integer.highestOneBit(size);
    int last = size - 1; // in the middle of it, unless the number of ranks is one less than a power
    int sent = halvingDoubling(last, 2520 / 8 * 8, size).stream().mapToInt(chunk -> chunk).sum();
    int more = last < 2 * (size - core) ? 2520 : 0;
    assertThat(sent - more).isEqualTo(2 * (core - 1) * 2520 / core);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void aHierarchySendsLittleBetweenHosts(int perHost) throws Exception {
    for (int hosts : new int[] {2, 3}) {
      int size = perHost * hosts;
      List<Integer> hostOf =
          IntStream.range(0, size).mapToObj(rank -> rank % hosts).toList(); // by turns
      for (int count : COUNTS) {
        check(
            "hierarchical all-reduce of " + count,
            hostOf,
            rank -> {
              int local = rank / hosts;
              int own = part(count, perHost, local);
              List<Integer> within =
                  perHost == 1
                      ? List.of()
                      : join(allBut(local, count, perHost), allBut(local + 1, count, perHost));
              return join(within, ring(rank % hosts, own, hosts));
            },
            exchange -> HierarchicalAllReduce.run(exchange, tensor(count), SUM));
      }
    }
    // 2 (l - 1) / l m within and 2 (h - 1) / h m / l to others
    check(
        "hierarchical all-reduce of 2520",
        List.of(0, 0, 1, 1),
        rank -> List.of(1260, 1260, 630, 630),
        exchange -> HierarchicalAllReduce.run(exchange, tensor(2520), SUM));
  }

  @ParameterizedTest
  @ValueSource(ints = {5, 2520})
  void oneOfEachHostDoesAllWhereHostsHaveDifferentNumbersOfRanks(int count) throws Exception {
    check(
        "hierarchical all-reduce of " + count,
        List.of(0, 1, 0, 1, 1),
        rank ->
            switch (rank) {
              case 0 -> join(ring(0, count, 2), repeat(1, count));
              case 1 -> join(ring(1, count, 2), repeat(2, count));
              default -> List.of(count);
            },
        exchange -> HierarchicalAllReduce.run(exchange, tensor(count), SUM));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 6})
  void toAndFromARootEachElementTakesEveryLinkOnce(int size) throws Exception {
    for (int root = 0; root < size; root++) {
      int chosen = root;
      for (int count : COUNTS) {
        check(
            "chain broadcast",
            size,
            rank -> repeat((rank + 1) % size == chosen ? 0 : 1, count),
            exchange -> ChainBroadcast.run(exchange, tensor(count), chosen));
        check(
            "chain reduce",
            size,
            rank -> repeat(rank == chosen ? 0 : 1, count),
            exchange -> ChainReduce.run(exchange, tensor(count), SUM, chosen));
        check(
            "tree broadcast",
            size,
            rank -> repeat(children(BinaryTree.rootedAt(chosen, rank, size)), count),
            exchange -> BinaryTreeBroadcast.run(exchange, tensor(count), chosen));
        check(
            "tree reduce",
            size,
            rank -> repeat(rank == chosen ? 0 : 1, count),
            exchange -> BinaryTreeReduce.run(exchange, tensor(count), SUM, chosen));
      }
      Parts parts = Parts.equal(size, 37L * size);
      check(
          "gather",
          size,
          rank -> repeat(rank == chosen ? 0 : 1, 37),
          exchange ->
              LinearGather.run(
                  exchange,
                  tensor(37),
                  exchange.rank() == chosen ? tensor(37 * size) : null,
                  parts,
                  chosen));
      check(
          "scatter",
          size,
          rank -> repeat(rank == chosen ? size - 1 : 0, 37),
          exchange ->
              LinearScatter.run(
                  exchange,
                  exchange.rank() == chosen ? tensor(37 * size) : null,
                  tensor(37),
                  parts,
                  chosen));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 8, 9})
  void aBarrierTakesAsManyMessagesAsThereAreDoublings(int size) throws Exception {
    int rounds = Integer.SIZE - Integer.numberOfLeadingZeros(size - 1);
    check("barrier", size, rank -> repeat(rounds, 0), DisseminationBarrier::run);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, MOST_RANKS})
  void nothingIsSentInAGroupOfOneAndEmptyTensorsTakeMessagesWithoutBytes(int size)
      throws Exception {
    check(
        "ring all-reduce of nothing",
        size,
        rank -> repeat(2 * (size - 1), 0),
        exchange -> RingAllReduce.run(exchange, tensor(0), SUM));
  }
}
