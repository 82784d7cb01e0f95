package dev.phalanx.collectives;

import static org.assertj.core.api.Assertions.assertThat;

import dev.phalanx.collectives.TestGroup.Network;
import dev.phalanx.collectives.algorithm.Algorithm;
import dev.phalanx.tensor.DType;
import dev.phalanx.tensor.Sample;
import dev.phalanx.tensor.Tensor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Ranks that call different things find out, all of them, long before the deadline. */
@Timeout(120)
final class MismatchTest {
  private static final Duration LONG = Duration.ofSeconds(18);
  private static final long WITHIN_SECONDS = 6; // on a machine that has much else to do

  /** A call and how messages describe it. */
  private record Calling(String description, Caller caller) {}

  private interface Caller {
    Work call(Communicator communicator);
  }

  /** What one rank calls and what all others do. */
  private record Difference(Calling odd, Calling usual) {
    /** Who only sends may have gone on when the difference is found: later calls are named then. */
    boolean isOneWay() {
      return odd.description().contains("with root") && usual.description().contains("with root");
    }
  }

  private static Tensor tensor(DType dtype, int count) {
    return HostTensors.of(dtype, count, i -> i % 5);
  }

  private static Calling allReduce(DType dtype, int count, ReduceOperation reduction) {
    return new Calling(
        "all_reduce #0 (" + reduction + " of " + count + " " + dtype + ")",
        communicator -> communicator.allReduce(tensor(dtype, count), reduction));
  }

  private static Calling sum(int count) {
    return allReduce(DType.FLOAT32, count, ReduceOperation.SUM);
  }

  private static Calling broadcast(int count, int root) {
    return new Calling(
        "broadcast #0 (" + count + " FLOAT32 with root " + root + ")",
        communicator -> communicator.broadcast(tensor(DType.FLOAT32, count), root));
  }

  private static Calling reduce(int root) {
    return new Calling(
        "reduce #0 (SUM of 100 FLOAT32 with root " + root + ")",
        communicator -> communicator.reduce(tensor(DType.FLOAT32, 100), ReduceOperation.SUM, root));
  }

  private static Calling allGather(int part, int size) {
    return new Calling(
        "all_gather #0 (" + part * size + " FLOAT32)",
        communicator ->
            communicator.allGather(
                tensor(DType.FLOAT32, part), tensor(DType.FLOAT32, part * size)));
  }

  private static Calling reduceScatter(int part, int size) {
    return new Calling(
        "reduce_scatter #0 (SUM of " + part * size + " FLOAT32)",
        communicator ->
            communicator.reduceScatter(
                tensor(DType.FLOAT32, part * size),
                tensor(DType.FLOAT32, part),
                ReduceOperation.SUM));
  }

  private static Calling allToAll(int part, int size) {
    return new Calling(
        "all_to_all #0 (" + part * size + " FLOAT32)",
        communicator ->
            communicator.allToAll(
                tensor(DType.FLOAT32, part * size), tensor(DType.FLOAT32, part * size)));
  }

  private static final Calling BARRIER = new Calling("barrier #0", Communicator::barrier);

  private static List<Difference> differences(int size) {
    return List.of(
        new Difference(sum(10), sum(11)),
        new Difference(sum(10), sum(900_001)), // other algorithms too
        new Difference(sum(900_001), sum(10)),
        new Difference(sum(0), sum(1)),
        new Difference(allReduce(DType.INT32, 10, ReduceOperation.SUM), sum(10)),
        new Difference(allReduce(DType.FLOAT32, 10, ReduceOperation.MAXIMUM), sum(10)),
        new Difference(BARRIER, sum(1000)),
        new Difference(sum(1000), BARRIER),
        new Difference(broadcast(100, 0), sum(100)),
        new Difference(broadcast(100, 1), broadcast(100, 0)),
        new Difference(broadcast(100, 0), broadcast(200_000, 0)),
        new Difference(reduce(1), reduce(0)),
        new Difference(reduce(0), broadcast(100, 0)),
        new Difference(allGather(5, size), allGather(6, size)),
        new Difference(reduceScatter(5, size), allGather(5, size)),
        new Difference(allToAll(5, size), reduceScatter(50_000, size)));
  }

  private static Stream<Network> networks() {
    return Stream.of(Network.values())
        .filter(network -> network != Network.GRPC_WITH_TLS); // what encrypts sees no calls
  }

  static Stream<Arguments> groups() {
    return networks()
        .flatMap(network -> Stream.of(3, 2, 5).map(size -> Arguments.of(network, size)));
  }

  @Sample(3)
  @ParameterizedTest
  @MethodSource("groups")
  void ranksThatCallDifferentThingsAllFailWithBothCalls(Network network, int size)
      throws Exception {
    List<Difference> differences = differences(size);
    for (int i = 0; i < differences.size(); i++) {
      check(network, size, differences.get(i), i % 2 == 0 ? 0 : size - 1);
    }
  }

  private static void check(Network network, int size, Difference difference, int odd)
      throws Exception {
    long start = System.nanoTime();
    List<CollectiveException> failures;
    try (TestGroup group = new TestGroup(network, size, LONG)) {
      failures =
          group.run(
              communicator -> {
                Calling own = communicator.rank() == odd ? difference.odd() : difference.usual();
                return firstFailure(
                    own.caller().call(communicator),
                    communicator.barrier(), // who only sends may be done before, and more than once
                    communicator.barrier(),
                    communicator.barrier());
              });
    } catch (Exception e) {
      throw new AssertionError(difference + " of rank " + odd + ": not all have failed", e);
    }
    String what = difference + " of rank " + odd;
    assertThat(System.nanoTime() - start)
        .as(what)
        .isLessThan(TimeUnit.SECONDS.toNanos(WITHIN_SECONDS));
    assertThat(failures)
        .as(what)
        .anySatisfy(
            failure ->
                assertThat(failure)
                    .isInstanceOf(CollectiveMismatchException.class)
                    .hasMessageContaining("rank " + odd + " called ")
                    .hasMessageContaining(
                        difference.isOneWay() ? " #0" : difference.odd().description())
                    .hasMessageContaining(
                        difference.isOneWay() ? " #0" : difference.usual().description()))
        .allSatisfy(
            failure ->
                assertThat(failure)
                    .hasMessageMatching("(?s).*rank \\d called .* but rank \\d called .*"));
    for (CollectiveException failure : failures) {
      if (!(failure instanceof CollectiveMismatchException)) {
        assertThat(failure).as(what).hasMessageContaining("cannot go on: rank ");
      }
    }
  }

  private static CollectiveException firstFailure(Work... works) throws InterruptedException {
    for (Work work : works) {
      try {
        work.await();
      } catch (CollectiveException e) {
        return e;
      }
    }
    throw new AssertionError("nothing has failed");
  }

  @ParameterizedTest
  @MethodSource("groups")
  void ranksThatCallInAnotherOrderAllFail(Network network, int size) throws Exception {
    try (TestGroup group = new TestGroup(network, size, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator -> {
                List<Caller> callers =
                    new ArrayList<>(List.of(sum(100).caller(), allGather(10, size).caller()));
                if (communicator.rank() == size - 1) {
                  callers.add(callers.remove(0));
                }
                Work first = callers.get(0).call(communicator);
                Work second = callers.get(1).call(communicator);
                return firstFailure(first, second);
              });
      assertThat(failures)
          .allSatisfy(
              failure ->
                  assertThat(failure)
                      .hasMessageContaining("all_reduce #0")
                      .hasMessageContaining("all_gather #0"));
    }
  }

  @ParameterizedTest
  @MethodSource("groups")
  void aReceiveThatMeetsACollectiveIsAMismatch(Network network, int size) throws Exception {
    try (TestGroup group = new TestGroup(network, size, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator -> {
                Tensor tensor = tensor(DType.FLOAT32, 100);
                return firstFailure(
                    communicator.rank() == 1
                        ? communicator.receive(tensor, 0, 3)
                        : communicator.allReduce(tensor, ReduceOperation.SUM));
              });
      assertThat(failures)
          .allSatisfy(
              failure ->
                  assertThat(failure)
                      .hasMessageContaining("transfer of tag 3")
                      .hasMessageContaining("all_reduce #0"));
    }
  }

  /** Nothing that it waits for would ever tell it. */
  @ParameterizedTest
  @EnumSource(Network.class)
  void aRankThatOnlySendsHearsThatAnotherOneCannotGoOn(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator -> {
                if (communicator.rank() == 1) {
                  return firstFailure(broadcast(50, 0).caller().call(communicator));
                }
                long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(WITHIN_SECONDS);
                while (System.nanoTime() < end) {
                  try {
                    broadcast(100, 0).caller().call(communicator).await();
                  } catch (CollectiveException e) {
                    return e;
                  }
                }
                throw new AssertionError("the root has heard of nothing");
              });
      assertThat(failures)
          .allSatisfy(
              failure ->
                  assertThat(failure)
                      .hasMessageContaining("broadcast #0 (50 FLOAT32 with root 0)")
                      .hasMessageContaining("broadcast #0 (100 FLOAT32 with root 0)"));
    }
  }

  /** Whoever finds the difference, and wherever it is by then: here one is in its barrier. */
  @ParameterizedTest
  @MethodSource("networks")
  void whoIsFurtherOnNamesWhatItCalledInThatPlace(Network network) throws Exception {
    CountDownLatch sent = new CountDownLatch(1);
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator -> {
                if (communicator.rank() == 1) {
                  sent.await(1, TimeUnit.SECONDS); // some roots return when all have it
                  return firstFailure(sum(100).caller().call(communicator));
                }
                Work broadcast = broadcast(100, 0).caller().call(communicator);
                Work barrier = communicator.barrier();
                try {
                  broadcast.await();
                  sent.countDown();
                } catch (CollectiveException e) {
                  return e;
                }
                return firstFailure(barrier);
              });
      assertThat(failures)
          .allSatisfy(
              failure ->
                  assertThat(failure)
                      .hasMessageContaining("called broadcast #0 (100 FLOAT32 with root 0)")
                      .hasMessageContaining("called all_reduce #0 (SUM of 100 FLOAT32)"));
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void aTransferOfAnotherLengthIsAMismatch(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator ->
                  firstFailure(
                      communicator.rank() == 0
                          ? communicator.send(tensor(DType.FLOAT32, 10), 1, 2)
                          : communicator.receive(tensor(DType.FLOAT32, 11), 0, 2),
                      communicator.barrier()));
      assertThat(failures)
          .allSatisfy(
              failure ->
                  assertThat(failure)
                      .hasMessageContaining("transfer of tag 2 (10 FLOAT32)")
                      .hasMessageContaining("transfer of tag 2 (11 FLOAT32)"));
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void partsOfAnAllToAllThatDoNotFitAreAMismatch(Network network) throws Exception {
    assertThatAPartIsFoundTooLong(network, 3, 4);
  }

  /** The receiver takes whole pieces that look right, and does not wait for what is too much. */
  @ParameterizedTest
  @EnumSource(Network.class)
  void partsThatAreWholePiecesTooLongAreAMismatchOfTheSameOperation(Network network)
      throws Exception {
    assertThatAPartIsFoundTooLong(network, 1 << 20, 2 << 20);
  }

  private static void assertThatAPartIsFoundTooLong(Network network, int expected, int sent)
      throws Exception {
    try (TestGroup group = new TestGroup(network, 3, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator -> {
                long[] counts = {expected, expected, expected};
                long[] inputs = {expected, expected, communicator.rank() == 1 ? sent : expected};
                Tensor input = tensor(DType.INT32, (int) (inputs[0] + inputs[1] + inputs[2]));
                Tensor output = tensor(DType.INT32, 3 * expected);
                try (communicator) { // a job that fails leaves the group
                  Work work = communicator.allToAll(input, inputs, output, counts);
                  return communicator.rank() == 2
                      ? firstFailure(work)
                      : firstFailure(work, communicator.barrier()); // who sends may be done before
                }
              });
      assertThat(failures)
          .allSatisfy(
              failure ->
                  assertThat(failure)
                      .hasMessageContaining(
                          "rank 1 sent "
                              + sent
                              + " elements where "
                              + expected
                              + " were expected: it called all_to_all #0 with "
                              + sent
                              + " for rank 2, which called it with "
                              + expected
                              + " from rank 1."));
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void anAllToAllOfEqualPartsThatMeetsOneOfOthersIsAMismatch(Network network) throws Exception {
    int many = 400_000;
    try (TestGroup group = new TestGroup(network, 5, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator -> {
                int part = communicator.rank() == 0 ? 10 : many;
                long[] counts = {part, part, part, part, part};
                Tensor input = tensor(DType.FLOAT32, 5 * part);
                Tensor output = tensor(DType.FLOAT32, 5 * part);
                return firstFailure(
                    communicator.rank() == 0
                        ? communicator.allToAll(input, output)
                        : communicator.allToAll(input, counts, output, counts),
                    communicator.barrier());
              });
      assertThat(failures)
          .allSatisfy(
              failure ->
                  assertThat(failure)
                      .hasMessageContaining("all_to_all #0 (50 FLOAT32)")
                      .hasMessageContaining("all_to_all #0 (FLOAT32 in unequal parts")
                      .hasMessageContaining("rank 0 called"));
    }
  }

  @ParameterizedTest
  @EnumSource(Network.class)
  void countsOfAnAllGatherThatAreInAnotherOrderAreAMismatch(Network network) throws Exception {
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator -> {
                long[] counts = {1, 3};
                long[] others = {3, 1};
                // Each rank's own count fits its tensor, so that it takes two to see the
                // difference.
                long[] own = communicator.rank() == 0 ? counts : others;
                return firstFailure(
                    communicator.allGather(
                        tensor(DType.INT32, (int) own[communicator.rank()]),
                        tensor(DType.INT32, 4),
                        own));
              });
      assertThat(failures)
          .allSatisfy(
              failure ->
                  assertThat(failure)
                      .hasMessageMatching(
                          "(?s).*rank (\\d) called all_gather #0 \\(4 INT32\\) and rank"
                              + " (?!\\1)\\d called the same with other counts\\..*")
                      .hasMessageContaining("must give the same counts"));
    }
  }

  /**
   * Whoever waits for a rank that has not come yet hears, while it waits, that another one cannot
   * go on.
   */
  @ParameterizedTest
  @EnumSource(Network.class)
  void whoWaitsForSomebodyElseHearsOfAFailureTooAndDoesNotWaitForTheDeadline(Network network)
      throws Exception {
    try (TestGroup group = new TestGroup(network, 3, LONG)) {
      CountDownLatch othersHaveFailed = new CountDownLatch(2);
      List<String> messages =
          group.run(
              communicator -> {
                if (communicator.rank() == 2) { // busy elsewhere until the others are done
                  assertThat(othersHaveFailed.await(WITHIN_SECONDS, TimeUnit.SECONDS)).isTrue();
                  return String.valueOf(firstFailure(communicator.barrier()).getMessage());
                }
                Tensor tensor = tensor(DType.FLOAT32, 900_001 + communicator.rank());
                CollectiveException failure =
                    firstFailure(communicator.allReduce(tensor, ReduceOperation.SUM));
                othersHaveFailed.countDown();
                return String.valueOf(failure.getMessage());
              });
      for (int rank = 0; rank < 2; rank++) {
        assertThat(messages.get(rank)).contains("900001 FLOAT32", "900002 FLOAT32");
      }
      assertThat(messages.get(2)).contains("all_reduce #0");
    }
  }

  /** Of parts that are so many whole pieces each is as long as another's. */
  @ParameterizedTest
  @EnumSource(Network.class)
  void countsThatDifferByWholePiecesAreAMismatch(Network network) throws Exception {
    int piece = 64 * 1024; // elements of 256 KiB
    try (TestGroup group = new TestGroup(network, 2, LONG)) {
      List<CollectiveException> failures =
          group.run(
              communicator -> {
                long[] counts = {2 * piece, piece};
                long[] others = {piece, 2 * piece};
                return firstFailure(
                    communicator.allGather(
                        tensor(DType.FLOAT32, 2 * piece),
                        tensor(DType.FLOAT32, 3 * piece),
                        communicator.rank() == 0 ? counts : others));
              });
      assertThat(failures)
          .allSatisfy(failure -> assertThat(failure).hasMessageContaining("with other counts"));
    }
  }

  /** There no message has content in which ranks could find out. */
  @Test
  void countsThatDifferAreAMismatchWhereRanksReadEachOthersMemoryToo() throws Exception {
    try (TestGroup group =
        new TestGroup(Network.SHARED_MEMORY, 2, new GroupOptions(Algorithm.DIRECT, LONG, 1))) {
      group.share();
      List<String> messages =
          group.run(
              communicator -> {
                int rank = communicator.rank();
                Tensor own = HostTensors.of(group.memory(rank), DType.FLOAT32, 3, i -> i);
                Tensor all = HostTensors.of(group.memory(rank), DType.FLOAT32, 8, i -> i);
                long[] counts = rank == 0 ? new long[] {3, 5} : new long[] {5, 3};
                try {
                  communicator.allGather(own, all, counts).await();
                  return "nothing";
                } catch (CollectiveMismatchException e) {
                  return String.valueOf(e.getMessage());
                }
              });
      assertThat(messages)
          .allSatisfy(
              message -> assertThat(message).contains("rank 0", "rank 1", "with other counts"));
    }
  }
}
