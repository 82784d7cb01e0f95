package dev.phalanx.collectives;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.fault.Direction;
import dev.phalanx.collectives.fault.FaultProxy;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.status.LocalStatusBoard;
import dev.phalanx.collectives.status.StatusBoard;
import dev.phalanx.collectives.transport.Frame;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.tcp.TcpEndpoint;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What becomes of operations over TCP when the network between the ranks fails. */
@Timeout(120)
final class TcpFaultTest {
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final Duration SHORT = Duration.ofMillis(1500);

  /** Of the rank that connects, and of the one that listens: see {@code docs/wire-format.md}. */
  private static final int CONNECTOR_BYTES = 96;

  private static final int LISTENER_BYTES = 75;

  private static final int LARGE = 1_000_000; // elements of FLOAT32, sixteen pieces

  /** Offsets in what a rank sends: in the greeting, in the first frame, amid a large tensor. */
  private static final int IN_GREETING = 10 - LISTENER_BYTES;

  private static final int IN_FIRST_FRAME = Frame.HEADER_BYTES + 100;
  private static final int IN_THE_MIDDLE = 2_000_003;

  /** Ranks of which each reaches each other one through a network that fails on command. */
  private static final class Ranks implements AutoCloseable {
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final List<TcpEndpoint> endpoints = new ArrayList<>();
    private final List<List<FaultProxy>> proxies = new ArrayList<>(); // [connecting][listening]
    private final List<Communicator> communicators = new ArrayList<>();
    private final Set<Integer> silent = ConcurrentHashMap.newKeySet();

    Ranks(int size, Duration timeout) throws Exception {
      this(size, timeout, 1);
    }

    Ranks(int size, Duration timeout, int streams) throws Exception {
      JobToken token = JobToken.random();
      for (int rank = 0; rank < size; rank++) {
        endpoints.add(TestGroup.endpoint(token, rank, streams));
      }
      LocalStatusBoard board = new LocalStatusBoard();
      Topology topology =
          Topology.ofOneHost("tcp", size, TcpEndpoint.COST, TcpEndpoint.PIECE_BYTES);
      for (int rank = 0; rank < size; rank++) {
        List<FaultProxy> toOthers = new ArrayList<>();
        for (int peer = 0; peer < size; peer++) {
          toOthers.add(
              new FaultProxy(endpoints.get(peer).address(), CONNECTOR_BYTES, LISTENER_BYTES));
        }
        proxies.add(toOthers);
        List<InetSocketAddress> members = toOthers.stream().map(FaultProxy::address).toList();
        communicators.add(
            new QueuedCommunicator(
                GroupMembers.world("test", rank, size),
                new Transport(
                    rank,
                    topology,
                    endpoints.get(rank).links(GroupId.WORLD, rank, members, timeout)),
                GroupOptions.withTimeout(timeout),
                new PartialBoard(board)));
      }
    }

    /** On which silent ranks do not answer. */
    private final class PartialBoard implements StatusBoard {
      private final LocalStatusBoard all;

      PartialBoard(LocalStatusBoard all) {
        this.all = all;
      }

      @Override
      public void join(Member member) {
        all.join(member);
      }

      @Override
      public void leave(Member member) {
        all.leave(member);
      }

      @Override
      public Optional<String> firstLost() {
        return all.firstLost();
      }

      @Override
      public Answers ask() {
        return new Answers(
            all.ask().statuses().stream()
                .filter(status -> !silent.contains(status.rank()))
                .toList(),
            rank -> !silent.contains(rank));
      }
    }

    /** Lets something happen to what one rank sends another, whoever of them has connected. */
    void between(int from, int to, Consumer<Direction> fault) {
      fault.accept(proxies.get(from).get(to).toTarget());
      fault.accept(proxies.get(to).get(from).fromTarget());
    }

    /** A rank's cables are pulled, also that to where its state is told. */
    void isolate(int rank) {
      silent.add(rank);
      for (int peer = 0; peer < endpoints.size(); peer++) {
        proxies.get(rank).get(peer).stop();
        proxies.get(peer).get(rank).stop();
      }
    }

    interface Body<T> {
      T run(Communicator communicator) throws Exception;
    }

    <T> List<T> run(Body<T> body) throws Exception {
      List<Future<T>> futures = new ArrayList<>();
      for (Communicator communicator : communicators) {
        futures.add(threads.submit(() -> body.run(communicator)));
      }
      List<T> results = new ArrayList<>();
      for (Future<T> future : futures) {
        results.add(future.get(40, SECONDS));
      }
      return results;
    }

    @Override
    public void close() throws Exception {
      for (List<FaultProxy> toOthers : proxies) { // first: nothing is waited for in vain
        for (FaultProxy proxy : toOthers) {
          proxy.close();
        }
      }
      communicators.forEach(Communicator::close);
      endpoints.forEach(TcpEndpoint::close);
      threads.shutdownNow();
    }
  }

  private static Tensor tensor(int count, int rank) {
    return HostTensors.of(DType.FLOAT32, count, i -> i % 1000 + rank);
  }

  /** The root of a broadcast hears of a failure at its next operation. */
  private static String broadcastFailure(Communicator communicator, int count)
      throws InterruptedException {
    Tensor tensor = tensor(count, communicator.rank());
    try {
      communicator.broadcast(tensor, 0).await();
    } catch (CollectiveException e) {
      return String.valueOf(e.getMessage());
    }
    for (int i = 0; i < count; i++) {
      assertThat(HostTensors.bytes(tensor).getFloat(4 * i)).isEqualTo(i % 1000);
    }
    try {
      communicator.barrier().await();
    } catch (CollectiveException e) {
      return String.valueOf(e.getMessage());
    }
    return "none";
  }

  @ParameterizedTest
  @ValueSource(ints = {IN_FIRST_FRAME, IN_THE_MIDDLE})
  void aFlippedBitInAPayloadIsAnErrorThatNamesTheOperation(int offset) throws Exception {
    try (Ranks ranks = new Ranks(2, LONG)) {
      ranks.between(0, 1, line -> line.flipBitAt(line.afterHandshake(offset), 3));
      List<String> failures = ranks.run(communicator -> broadcastFailure(communicator, LARGE));
      assertThat(failures.get(1))
          .contains("rank 1/2 broadcast #0 in group test: rank 0 has sent a damaged frame of")
          .contains("broadcast #0")
          .contains("CRC-32C");
      assertThat(failures.get(0)).contains("rank 1");
    }
  }

  private static String failureOfALargeAllReduce(Communicator communicator)
      throws InterruptedException {
    try {
      communicator.allReduce(tensor(LARGE, communicator.rank()), ReduceOperation.SUM).await();
    } catch (CollectiveException e) {
      return String.valueOf(e.getMessage());
    }
    return "none";
  }

  /** Of two, the one that finds the damage later may find it in what the earlier one says of it. */
  @Test
  void ranksBesideADamagedConnectionHearOfIt() throws Exception {
    try (Ranks ranks = new Ranks(3, LONG)) {
      for (int from = 0; from < 2; from++) {
        ranks.between(
            from, 1 - from, line -> line.flipBitAt(line.afterHandshake(IN_FIRST_FRAME), 0));
      }
      List<String> failures = ranks.run(TcpFaultTest::failureOfALargeAllReduce);
      assertThat(failures)
          .allSatisfy(
              failure ->
                  assertThat(failure)
                      .containsPattern(
                          "damaged frame (of all_reduce #0|that says it cannot go on)"))
          .anySatisfy(failure -> assertThat(failure).contains("damaged frame of all_reduce #0"));
    }
  }

  /** Whichever byte of a header it is. */
  @Test
  void aFlippedBitInAHeaderIsNeverOverlooked() throws Exception {
    for (int place = 0; place < Frame.HEADER_BYTES; place++) {
      int offset = place;
      try (Ranks ranks = new Ranks(2, SHORT)) {
        ranks.between(0, 1, line -> line.flipBitAt(line.afterHandshake(offset), offset * 3 % 8));
        List<String> failures = ranks.run(communicator -> broadcastFailure(communicator, 10));
        assertThat(failures.get(1))
            .as("with byte %d of the header changed", place)
            .contains("rank 1/2 broadcast #0 in group test: ")
            .contains("rank 0");
      }
    }
  }

  /** A transfer's header tells which one it is; with another tag it would be taken for another. */
  @Test
  void aFlippedBitInATagDoesNotMixUpTransfers() throws Exception {
    try (Ranks ranks = new Ranks(2, SHORT)) {
      ranks.between(0, 1, line -> line.flipBitAt(line.afterHandshake(39), 0)); // tag 5 becomes 4
      List<String> outcomes =
          ranks.run(
              communicator -> {
                Tensor five = tensor(10, 5);
                Tensor four = tensor(10, 4);
                try {
                  if (communicator.rank() == 0) {
                    communicator.send(five, 1, 5).await();
                    communicator.send(four, 1, 4).await();
                  } else {
                    communicator.receive(five, 0, 4).await();
                    return "received " + HostTensors.values(five)[0];
                  }
                } catch (CollectiveException e) {
                  return String.valueOf(e.getMessage());
                }
                return "sent";
              });
      assertThat(outcomes.get(1)).contains("damaged frame of transfer");
    }
  }

  /** Flips at random places of an all-reduce: an error or the right sum, never another one. */
  @Test
  void noFlippedBitMakesAWrongSum() throws Exception {
    Random random = new Random(7);
    int failed = 0;
    for (int round = 0; round < 25; round++) {
      int count = 1 + random.nextInt(100_000);
      long bytes = 4L * count;
      try (Ranks ranks = new Ranks(2, SHORT)) {
        int from = random.nextInt(2);
        long offset = (long) (random.nextDouble() * bytes);
        int bit = random.nextInt(8);
        ranks.between(from, 1 - from, line -> line.flipBitAt(line.afterHandshake(offset), bit));
        List<Boolean> succeeded =
            ranks.run(
                communicator -> {
                  Tensor tensor = tensor(count, communicator.rank());
                  try {
                    communicator.allReduce(tensor, ReduceOperation.SUM).await();
                  } catch (CollectiveException e) {
                    return false;
                  }
                  double[] sums = HostTensors.values(tensor);
                  for (int i = 0; i < count; i++) {
                    assertThat(sums[i])
                        .as("element %d of %d", i, count)
                        .isEqualTo(i % 1000 * 2 + 1);
                  }
                  return true;
                });
        failed += succeeded.contains(false) ? 1 : 0;
      }
    }
    assertThat(failed).as("rounds in which the damage was noticed").isGreaterThan(10);
  }

  @ParameterizedTest
  @ValueSource(ints = {IN_GREETING, IN_FIRST_FRAME, IN_THE_MIDDLE})
  void aConnectionThatEndsEarlyIsAnErrorThatNamesThePeer(int offset) throws Exception {
    try (Ranks ranks = new Ranks(2, SHORT)) {
      ranks.between(0, 1, line -> line.truncateAt(line.afterHandshake(offset)));
      List<String> failures = ranks.run(communicator -> broadcastFailure(communicator, LARGE));
      assertThat(failures.get(1)).contains("rank 1").contains("rank 0").isNotEqualTo("none");
      assertThat(failures.get(0)).contains("rank 1").isNotEqualTo("none");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {IN_GREETING, IN_FIRST_FRAME, IN_THE_MIDDLE})
  void aConnectionThatIsCutIsAnErrorThatNamesThePeer(int offset) throws Exception {
    long start = System.nanoTime();
    try (Ranks ranks = new Ranks(2, LONG)) {
      ranks.between(0, 1, line -> line.cutAt(line.afterHandshake(offset)));
      List<String> failures = ranks.run(communicator -> broadcastFailure(communicator, LARGE));
      assertThat(failures.get(1)).contains("rank 0").containsIgnoringCase("connect");
      assertThat(failures.get(0)).contains("rank 1");
    }
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(LONG.dividedBy(2));
  }

  /** The other connections stay as they are. */
  @ParameterizedTest
  @ValueSource(ints = {IN_GREETING, IN_FIRST_FRAME, 1_000_003})
  void oneStreamOfSeveralThatIsCutIsAnErrorThatNamesThePeer(int offset) throws Exception {
    long start = System.nanoTime();
    try (Ranks ranks = new Ranks(2, LONG, 3)) {
      ranks.between(0, 1, line -> line.cutAt(line.afterHandshake(offset)));
      List<String> failures = ranks.run(communicator -> broadcastFailure(communicator, LARGE));
      assertThat(failures.get(1)).contains("rank 0").containsIgnoringCase("connect");
      assertThat(failures.get(0)).contains("rank 1");
    }
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(LONG.dividedBy(2));
  }

  @Test
  void aSlowNetworkOnlyTakesLonger() throws Exception {
    try (Ranks ranks = new Ranks(2, LONG)) {
      Duration delay = Duration.ofMillis(30);
      for (int from = 0; from < 2; from++) {
        ranks.between(
            from,
            1 - from,
            line -> {
              line.delay(delay);
              line.limitRate(20_000_000);
            });
      }
      long start = System.nanoTime();
      List<double[]> sums =
          ranks.run(
              communicator -> {
                Tensor tensor = tensor(LARGE, communicator.rank());
                communicator.allReduce(tensor, ReduceOperation.SUM).await();
                return HostTensors.values(tensor);
              });
      Duration took = Duration.ofNanos(System.nanoTime() - start);
      double[] expected = new double[LARGE];
      Arrays.setAll(expected, i -> i % 1000 * 2 + 1);
      assertThat(sums).allSatisfy(sum -> assertThat(sum).isEqualTo(expected));
      assertThat(took).isGreaterThan(Duration.ofMillis(200)); // 4 MB in each direction
    }
  }

  /** In which call the cables are pulled. */
  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2})
  void theRankThatIsCutOffIsNamedByAllOthersAtTheDeadline(int calls) throws Exception {
    try (Ranks ranks = new Ranks(3, SHORT)) {
      for (int call = 0; call < calls; call++) {
        ranks.run(
            communicator -> {
              communicator.barrier().await();
              return true;
            });
      }
      ranks.isolate(2);
      List<String> failures = ranks.run(TcpFaultTest::failureOfALargeAllReduce);
      for (int rank = 0; rank < 2; rank++) {
        assertThat(failures.get(rank))
            .contains("all_reduce #" + calls)
            .contains("rank 2 gives no answer");
      }
    }
  }

  @Test
  void aLineThatGoesDeadAmidALargeTensorIsNamedAtTheDeadline() throws Exception {
    try (Ranks ranks = new Ranks(2, SHORT)) {
      ranks.silent.add(0);
      ranks.between(0, 1, line -> line.stopAt(line.afterHandshake(IN_THE_MIDDLE)));
      List<String> failures = ranks.run(communicator -> broadcastFailure(communicator, LARGE));
      assertThat(failures.get(1))
          .contains("rank 1/2 broadcast #0 in group test: nothing was heard of rank 0 for 1500 ms")
          .contains("rank 0 gives no answer");
    }
  }
}
