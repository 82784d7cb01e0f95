package dev.phalanx.collectives;

import static dev.phalanx.collectives.TestGroup.failureOf;
import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.collectives.fault.FaultProxy;
import dev.phalanx.collectives.rendezvous.RendezvousServer;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Timeout(120)
final class ProcessGroupsTest {
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final long PATIENCE_SECONDS = 40;

  /** How the ranks of a job come together. */
  enum Kind {
    THREADS,
    SHARED_MEMORY,
    TCP,
    TCP_STREAMS,
    GRPC_WITH_TLS
  }

  private interface RankBody<T> {
    T run(ProcessGroups groups) throws Exception;
  }

  /**
   * Ranks as threads of this JVM, which join a rendezvous as processes do unless they need none.
   */
  private static final class Job implements AutoCloseable {
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final List<RendezvousServer> servers = new ArrayList<>();
    private final List<ProcessGroups> ranks = new ArrayList<>();

    Job(Kind kind, int size) throws Exception {
      GroupOptions options =
          new GroupOptions(Algorithm.AUTO, LONG, kind == Kind.TCP_STREAMS ? 3 : 1);
      if (kind == Kind.THREADS) {
        InProcessGroups groups = new InProcessGroups(size, options);
        IntStream.range(0, size).mapToObj(groups::ofRank).forEach(ranks::add);
        return;
      }
      InetAddress loopback = InetAddress.getLoopbackAddress();
      Credentials credentials =
          Credentials.of(
              JobToken.random(), kind == Kind.GRPC_WITH_TLS ? Encryption.TLS : Encryption.NONE);
      TransportKind transport =
          switch (kind) {
            case GRPC_WITH_TLS -> TransportKind.GRPC;
            case TCP, TCP_STREAMS -> TransportKind.TCP;
            case SHARED_MEMORY, THREADS -> TransportKind.SHM;
          };
      RendezvousServer server =
          RendezvousServer.start(new InetSocketAddress(loopback, 0), size, credentials, LONG);
      servers.add(server);
      List<Future<ProcessGroups>> joining = new ArrayList<>();
      for (int rank = 0; rank < size; rank++) {
        ConnectedGroups.Joining self =
            new ConnectedGroups.Joining(
                rank,
                size,
                "plan",
                new InetSocketAddress(loopback, server.port()),
                loopback,
                credentials,
                transport);
        joining.add(threads.submit(() -> ConnectedGroups.join(self, options)));
      }
      for (Future<ProcessGroups> one : joining) {
        ranks.add(one.get(PATIENCE_SECONDS, SECONDS));
      }
    }

    /** Runs every rank on a thread of its own and gives the results in order. */
    <T> List<T> run(RankBody<T> body) throws Exception {
      List<Future<T>> futures = new ArrayList<>();
      for (ProcessGroups rank : ranks) {
        futures.add(threads.submit(() -> body.run(rank)));
      }
      List<T> results = new ArrayList<>();
      for (Future<T> future : futures) {
        results.add(future.get(PATIENCE_SECONDS, SECONDS));
      }
      return results;
    }

    @Override
    public void close() {
      ranks.forEach(ProcessGroups::close);
      servers.forEach(RendezvousServer::close);
      threads.shutdownNow();
    }
  }

  /**
   * A connection whose bytes vanish while both processes live, and the rendezvous hears of both,
   * long before the time-out.
   */
  @Test
  void aConnectionThatCarriesNothingAnyMoreIsNamedWithinSeconds() throws Exception {
    Duration timeout = Duration.ofMinutes(5);
    InetAddress loopback = InetAddress.getLoopbackAddress();
    Credentials credentials = Credentials.of(JobToken.random(), Encryption.NONE);
    ExecutorService threads = Executors.newCachedThreadPool();
    List<FaultProxy> proxies = new CopyOnWriteArrayList<>();
    List<ConnectedGroups> ranks = new CopyOnWriteArrayList<>();
    try (RendezvousServer server =
        RendezvousServer.start(new InetSocketAddress(loopback, 0), 3, credentials, LONG)) {
      CyclicBarrier healthy = new CyclicBarrier(4);
      CountDownLatch broken = new CountDownLatch(1);
      List<Future<String>> failures = new ArrayList<>();
      for (int rank = 0; rank < 3; rank++) {
        ConnectedGroups.Joining self =
            new ConnectedGroups.Joining(
                rank,
                3,
                "plan",
                new InetSocketAddress(loopback, server.port()),
                loopback,
                credentials,
                TransportKind.TCP);
        failures.add(
            threads.submit(
                () -> {
                  ConnectedGroups groups =
                      ConnectedGroups.join(
                          self,
                          GroupOptions.withTimeout(timeout),
                          address -> proxied(address, proxies));
                  ranks.add(groups);
                  Communicator world = groups.world();
                  sum(world, 1, 100_000);
                  healthy.await(PATIENCE_SECONDS, SECONDS);
                  broken.await();
                  return failureOf(
                          world.allReduce(
                              HostTensors.of(DType.FLOAT32, 1_000_000, i -> i),
                              ReduceOperation.SUM))
                      .getMessage();
                }));
      }
      healthy.await(PATIENCE_SECONDS, SECONDS);
      proxies.forEach(FaultProxy::stop);
      long start = System.nanoTime();
      broken.countDown();
      for (Future<String> failure : failures) {
        assertThat(failure.get(PATIENCE_SECONDS, SECONDS)).contains("carries nothing any more");
      }
      assertThat(Duration.ofNanos(System.nanoTime() - start))
          .as("nine seconds at most where nothing else has the cores")
          .isLessThan(Duration.ofSeconds(15));
    } finally {
      for (FaultProxy proxy : proxies) {
        proxy.close();
      }
      ranks.forEach(ConnectedGroups::close);
      threads.shutdownNow();
    }
  }

  private static InetSocketAddress proxied(InetSocketAddress address, List<FaultProxy> proxies) {
    try {
      FaultProxy proxy = new FaultProxy(address);
      proxies.add(proxy);
      return proxy.address();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static double sum(Communicator group, double value, int count)
      throws InterruptedException {
    Tensor tensor = HostTensors.of(DType.FLOAT64, count, i -> value);
    group.allReduce(tensor, ReduceOperation.SUM).await();
    double[] values = HostTensors.values(tensor);
    assertThat(values).containsOnly(values[0]);
    return values[0];
  }

  /** Every rank is in several groups and uses each from a thread of its own, all at once. */
  @ParameterizedTest
  @EnumSource
  void overlappingGroupsWorkAtTheSameTime(Kind kind) throws Exception {
    List<List<Integer>> memberships =
        List.of(List.of(0, 1), List.of(1, 2), List.of(2, 0), List.of(3, 1, 0), List.of(3, 2, 1, 0));
    ExecutorService users = Executors.newCachedThreadPool();
    try (Job job = new Job(kind, 4)) {
      List<List<Communicator>> all =
          job.run(
              rank -> {
                List<Communicator> groups = new ArrayList<>();
                for (List<Integer> members : memberships) {
                  if (members.contains(rank.rank())) {
                    groups.add(rank.group("overlapping", members)); // one name, other ranks
                  }
                }
                return groups;
              });
      List<Future<Double>> results = new ArrayList<>();
      List<Double> expected = new ArrayList<>();
      for (int rank = 0; rank < all.size(); rank++) {
        int own = rank;
        List<List<Integer>> ownGroups =
            memberships.stream().filter(members -> members.contains(own)).toList();
        for (int i = 0; i < ownGroups.size(); i++) {
          Communicator group = all.get(rank).get(i);
          List<Integer> members = ownGroups.get(i);
          assertThat(group.rank()).isEqualTo(members.indexOf(own));
          assertThat(group.size()).isEqualTo(members.size());
          expected.add(30.0 * members.stream().mapToInt(member -> 1 << member).sum());
          results.add(
              users.submit(
                  () -> {
                    double total = 0;
                    for (int round = 0; round < 30; round++) {
                      total += sum(group, 1 << own, 1 + round * 500);
                    }
                    return total;
                  }));
        }
      }
      for (int i = 0; i < results.size(); i++) {
        assertThat(results.get(i).get(PATIENCE_SECONDS, SECONDS)).isEqualTo(expected.get(i));
      }
      all.forEach(groups -> groups.forEach(Communicator::close));
    } finally {
      users.shutdownNow();
    }
  }

  /** What ranks 1 and 3 of four say of a group of their own; the other ranks say nothing. */
  private static List<String> inAGroupOfOddRanks(Kind kind, TestGroup.RankBody<String> body)
      throws Exception {
    try (Job job = new Job(kind, 4)) {
      return job.run(
          rank -> {
            if (rank.rank() % 2 == 0) {
              return "";
            }
            try (Communicator group = rank.group("odd", List.of(1, 3))) {
              return body.run(group);
            }
          });
    }
  }

  @ParameterizedTest
  @EnumSource
  void whoCallsSomethingElseIsNamedByItsNumberInTheJob(Kind kind) throws Exception {
    List<String> messages =
        inAGroupOfOddRanks(
            kind,
            group -> {
              Tensor tensor = HostTensors.of(DType.FLOAT32, 11 + 2 * group.rank(), i -> i);
              return String.valueOf(
                  failureOf(group.allReduce(tensor, ReduceOperation.SUM)).getMessage());
            });
    for (int rank : List.of(1, 3)) {
      assertThat(messages.get(rank))
          .startsWith("rank " + rank + "/4 all_reduce #0 in group odd: ")
          .contains("rank 1 called all_reduce #0 (SUM of 11 FLOAT32)")
          .contains("rank 3 called all_reduce #0 (SUM of 13 FLOAT32)");
    }
  }

  @ParameterizedTest
  @EnumSource
  void whoKeepsAGroupWaitingIsNamedByItsNumberInTheJob(Kind kind) throws Exception {
    CountDownLatch heard = new CountDownLatch(1);
    List<String> messages =
        inAGroupOfOddRanks(
            kind,
            group -> {
              if (group.rank() == 1) {
                heard.await();
                return "";
              }
              try {
                group.barrier().await(Duration.ofMillis(500));
                return "nothing";
              } catch (CollectiveException e) {
                return String.valueOf(e.getMessage());
              } finally {
                heard.countDown();
              }
            });
    assertThat(messages.get(1))
        .startsWith("rank 1/4 barrier #0 in group odd: not done within 500 ms")
        .contains("it waits for rank 3; rank 3 keeps the others waiting");
  }

  @ParameterizedTest
  @EnumSource
  void aNameMayBeUsedAgainWhenItsGroupIsClosed(Kind kind) throws Exception {
    try (Job job = new Job(kind, 3)) {
      List<Double> sums =
          job.run(
              rank -> {
                double total = 0;
                for (int round = 0; round < 3; round++) {
                  try (Communicator group = rank.group("again", List.of(2, 0, 1))) {
                    total += sum(group, rank.rank() + round, 1000);
                  }
                }
                return total;
              });
      assertThat(sums).containsOnly(3.0 + 6 + 9);
    }
  }

  @ParameterizedTest
  @EnumSource
  void theWorldHasAllRanksInOrder(Kind kind) throws Exception {
    try (Job job = new Job(kind, 3)) {
      List<String> names =
          job.run(
              rank -> {
                try (Communicator world = rank.world()) {
                  assertThat(world.rank()).isEqualTo(rank.rank());
                  assertThat(world.size()).isEqualTo(3).isEqualTo(rank.worldSize());
                  assertThat(sum(world, world.rank(), 10)).isEqualTo(3);
                  return world.name();
                }
              });
      assertThat(names).containsOnly("world");
    }
  }

  @ParameterizedTest
  @EnumSource
  void aGroupOfOneDoesEverythingAtOnce(Kind kind) throws Exception {
    try (Job job = new Job(kind, 2)) {
      job.run(
          rank -> {
            try (Communicator alone = rank.group("alone", List.of(rank.rank()))) {
              int salt = 0;
              for (OperationTrial.Kind operation : OperationTrial.Kind.values()) {
                for (ReduceOperation reduction : ReduceOperation.values()) {
                  OperationTrial.Started started =
                      new OperationTrial(operation, DType.INT32, reduction, 5, 0, salt++)
                          .start(alone);
                  assertThat(started.work().isDone()).isTrue();
                  started.work().await();
                  started.check().run();
                }
              }
              assertThat(alone.traffic()).isEqualTo(new Traffic(0, 0));
            }
            return true;
          });
    }
  }

  /** Not as one whose process is stopped. */
  @ParameterizedTest
  @EnumSource(names = {"THREADS", "TCP"}) // over shared memory the group is not made without it
  void aRankThatHasNotMadeTheGroupIsSaidToHaveNot(Kind kind) throws Exception {
    try (Job job = new Job(kind, 2)) {
      List<String> messages =
          job.run(
              rank -> {
                if (rank.rank() == 1) {
                  return "";
                }
                try (Communicator group = rank.group("late", List.of(0, 1))) {
                  group.barrier().await(Duration.ofMillis(500));
                } catch (CollectiveTimeoutException e) {
                  return String.valueOf(e.getMessage());
                }
                throw new AssertionError("the barrier is done");
              });
      assertThat(messages.get(0)).contains("rank 1 answers but is not in this group");
    }
  }

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "THREADS") // which leave nothing
  void aRankThatHasLeftTheJobMakesNoGroups(Kind kind) throws Exception {
    try (Job job = new Job(kind, 2)) {
      job.run(
          rank -> {
            rank.close();
            assertThatThrownBy(rank::world)
                .isInstanceOf(CollectiveException.class)
                .hasMessageContaining("group world cannot be made, for this rank has left the job");
            return true;
          });
    }
  }

  @ParameterizedTest
  @EnumSource
  void ranksThatAreNoGroupAreRefused(Kind kind) throws Exception {
    try (Job job = new Job(kind, 2)) {
      job.run(
          rank -> {
            int other = 1 - rank.rank();
            assertThatThrownBy(() -> rank.group("of others", List.of(other)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("not in group of others");
            assertThatThrownBy(() -> rank.group("twice", List.of(0, 1, 1)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("twice");
            assertThatThrownBy(() -> rank.group("too many", List.of(0, 1, 2)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("only 2 ranks");
            return true;
          });
    }
  }

  @Test
  void severalStreamsAreRefusedWhereThereIsNoTcp() {
    InetAddress loopback = InetAddress.getLoopbackAddress();
    ConnectedGroups.Joining self =
        new ConnectedGroups.Joining(
            0,
            2,
            "plan",
            new InetSocketAddress(loopback, 1),
            loopback,
            Credentials.of(JobToken.random(), Encryption.TLS),
            TransportKind.AUTO);
    GroupOptions options = new GroupOptions(Algorithm.AUTO, LONG, 2);
    assertThatThrownBy(() -> ConnectedGroups.join(self, options))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("one stream, not 2");
  }

  /** The best of a few attempts: the machine may have other things to do. */
  @Test
  void manyRanksAreAGroupWithinTwoSeconds() throws Exception {
    long best = Long.MAX_VALUE;
    for (int attempt = 0; attempt < 5 && best >= TimeUnit.SECONDS.toNanos(2); attempt++) {
      long start = System.nanoTime();
      try (Job job = new Job(Kind.THREADS, 256)) {
        List<Communicator> worlds =
            job.run(
                rank -> {
                  Communicator world = rank.world();
                  world.barrier().await();
                  return world;
                });
        best = Math.min(best, System.nanoTime() - start);
        worlds.forEach(Communicator::close);
      }
    }
    assertThat(best).isLessThan(TimeUnit.SECONDS.toNanos(2));
  }

  @ParameterizedTest
  @EnumSource(TestGroup.Network.class)
  void aThousandAllReducesAreInFlightAtOnce(TestGroup.Network network) throws Exception {
    int flights = 1000;
    try (TestGroup group = new TestGroup(network, 3, LONG)) {
      group.run(
          communicator -> {
            List<Tensor> tensors = new ArrayList<>();
            List<Work> works = new ArrayList<>();
            for (int i = 0; i < flights; i++) {
              int number = i + communicator.rank();
              Tensor tensor = HostTensors.of(DType.INT64, 1 + i % 97, any -> number);
              tensors.add(tensor);
              works.add(communicator.allReduce(tensor, ReduceOperation.SUM));
            }
            works.get(flights - 1).await();
            for (int i = 0; i < flights; i++) {
              assertThat(works.get(i).isDone()).isTrue();
              assertThat(HostTensors.values(tensors.get(i))).containsOnly(3.0 * i + 3);
            }
            return true;
          });
    }
  }
}
