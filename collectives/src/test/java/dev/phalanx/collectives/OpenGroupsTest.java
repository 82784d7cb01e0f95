package dev.phalanx.collectives;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.fault.FaultProxy;
import dev.phalanx.collectives.rendezvous.Deliveries;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Endpoint;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.grpc.GrpcEndpoint;
import dev.phalanx.collectives.transport.tcp.TcpEndpoint;
import dev.phalanx.tensor.DType;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Connections that carry nothing any more. Its seconds are the calls that the test makes. */
@Timeout(60)
final class OpenGroupsTest {
  private static final Duration LONG = Duration.ofSeconds(30);
  private static final int BYTES = 1000;
  private static final long SLOW = 50_000; // bytes a second
  private static final Call CALL = Call.transfer(DType.UINT8, BYTES, 7);

  private enum Kind {
    TCP,
    TCP_STREAMS,
    GRPC
  }

  /** Rank 1 waits for what rank 0 sends, through a network that fails on command. */
  private static final class Pair implements AutoCloseable {
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final List<Endpoint> endpoints = new ArrayList<>();
    private final List<FaultProxy> proxies = new ArrayList<>();
    private final List<Transport> transports = new ArrayList<>();
    private final List<OpenGroups> open = new ArrayList<>(); // of either rank
    private int pieces;

    Pair(Kind kind) throws Exception {
      JobToken token = JobToken.random();
      InetAddress loopback = InetAddress.getLoopbackAddress();
      for (int rank = 0; rank < 2; rank++) {
        endpoints.add(
            kind == Kind.GRPC
                ? GrpcEndpoint.listen(
                    loopback, Credentials.of(token, Encryption.NONE), "test-grpc-" + rank)
                : TestGroup.endpoint(token, rank, kind == Kind.TCP ? 1 : 3));
        proxies.add(new FaultProxy(endpoints.get(rank).address()));
      }
      List<InetSocketAddress> members = proxies.stream().map(FaultProxy::address).toList();
      Topology topology = Topology.ofOneHost("test", 2, TcpEndpoint.COST, TcpEndpoint.PIECE_BYTES);
      for (int rank = 0; rank < 2; rank++) {
        Transport transport =
            new Transport(
                rank, topology, endpoints.get(rank).links(GroupId.WORLD, rank, members, LONG));
        OpenGroups groups = new OpenGroups();
        groups.add(GroupId.WORLD, GroupMembers.world("test", rank, 2), transport);
        transports.add(transport);
        open.add(groups);
      }
    }

    void sendWithoutWaiting(int bytes) {
      transports.get(0).send(1, CALL, pieces++, ByteBuffer.allocateDirect(bytes));
    }

    void send() throws InterruptedException {
      sendWithoutWaiting(BYTES);
      assertThat(transports.get(0).flush(Deadline.after(LONG))).isEqualTo(-1);
    }

    /** Until each stream has carried something. */
    void exchange() throws Exception {
      for (int i = 0; i < 5; i++) {
        send();
        assertThat(receive().get(20, SECONDS)).isEqualTo(BYTES);
      }
    }

    Future<Integer> receive() {
      return threads.submit(
          () -> {
            Message message = transports.get(1).receive(0, null, Deadline.after(LONG));
            try (message) {
              return message == null ? -1 : message.payload().remaining();
            }
          });
    }

    /** Until rank 1 sleeps. */
    void awaitWaiting() {
      await(() -> transports.get(1).waiting().isPresent());
    }

    /** Seconds pass, and what is asked is answered. */
    void pass(int seconds) {
      for (int second = 0; second < seconds; second++) {
        open.get(1)
            .look(
                (rank, way) ->
                    open.get(rank)
                        .handedOver(1, way)
                        .ifPresent(amount -> open.get(1).answered(rank, way, amount)));
      }
    }

    void stop() {
      proxies.forEach(FaultProxy::stop);
    }

    void heal() {
      proxies.forEach(FaultProxy::heal);
    }

    @Override
    public void close() throws Exception {
      for (FaultProxy proxy : proxies) {
        proxy.close();
      }
      transports.forEach(Transport::close);
      endpoints.forEach(Endpoint::close);
      threads.shutdownNow();
    }
  }

  private static void await(BooleanSupplier condition) {
    Deadline deadline = Deadline.after(LONG);
    while (!condition.getAsBoolean()) {
      assertThat(deadline.hasPassed()).as("has waited in vain").isFalse();
      Thread.onSpinWait();
    }
  }

  @ParameterizedTest
  @EnumSource
  void whatIsLostOnTheWayIsFoundWithinEightSeconds(Kind kind) throws Exception {
    try (Pair pair = new Pair(kind)) {
      pair.exchange();
      pair.stop();
      pair.send();
      Future<Integer> waiting = pair.receive();
      pair.awaitWaiting();
      pair.pass(5);
      assertThat(pair.transports.get(1).failure(0)).as("not at once").isNull();
      pair.pass(3);
      assertThatThrownBy(() -> waiting.get(20, SECONDS))
          .isInstanceOf(ExecutionException.class)
          .cause()
          .isInstanceOf(PeerLostException.class)
          .hasMessageContaining("has handed to the network what has not come here")
          .hasMessageContaining("carries nothing any more");
    }
  }

  /** How long it has computed before it sent says nothing about the network. */
  @ParameterizedTest
  @EnumSource
  void aShortSilenceAfterALongWaitIsForgotten(Kind kind) throws Exception {
    try (Pair pair = new Pair(kind)) {
      pair.exchange();
      Future<Integer> waiting = pair.receive();
      pair.awaitWaiting();
      pair.pass(60);
      pair.stop();
      pair.send();
      pair.pass(6);
      pair.heal();
      assertThat(waiting.get(20, SECONDS)).isEqualTo(BYTES);
    }
  }

  /** They were kept back somewhere and say nothing about the seconds since. */
  @Test
  void answersThatComeTogetherAreOne() throws Exception {
    try (Pair pair = new Pair(Kind.TCP)) {
      pair.exchange();
      pair.stop();
      pair.send();
      Future<Integer> waiting = pair.receive();
      pair.awaitWaiting();
      pair.pass(2);
      for (int answer = 0; answer < 100; answer++) {
        pair.open.get(1).answered(0, new Deliveries.Way(GroupId.WORLD, 0), Long.MAX_VALUE);
      }
      pair.heal();
      assertThat(waiting.get(20, SECONDS)).isEqualTo(BYTES);
    }
  }

  /** Of a message, which over gRPC is handed over as a whole, parts come. */
  @ParameterizedTest
  @EnumSource
  void whatTricklesInIsNotLost(Kind kind) throws Exception {
    try (Pair pair = new Pair(kind)) {
      pair.exchange();
      pair.proxies.forEach(proxy -> proxy.fromTarget().limitRate(SLOW));
      pair.proxies.forEach(proxy -> proxy.toTarget().limitRate(SLOW));
      pair.sendWithoutWaiting(TcpEndpoint.PIECE_BYTES);
      Future<Integer> waiting = pair.receive();
      pair.awaitWaiting();
      Transport receiver = pair.transports.get(1);
      for (int second = 0; second < 9; second++) { // fewer than HTTP/2 has frames for it
        pair.pass(1);
        Optional<Transport.Wait> before = receiver.waiting();
        await(() -> !receiver.waiting().equals(before));
        assertThat(waiting.isDone()).as("some of it has come").isFalse();
      }
      pair.heal();
      assertThat(waiting.get(20, SECONDS)).isEqualTo(TcpEndpoint.PIECE_BYTES);
    }
  }

  /** It computes, or has called something else: that is another matter. */
  @ParameterizedTest
  @EnumSource
  void aRankThatHasSentNothingIsNotBlamed(Kind kind) throws Exception {
    try (Pair pair = new Pair(kind)) {
      pair.exchange();
      isNotBlamed(pair);
    }
  }

  @Test
  void aConnectionThatIsNotOpenIsNotBlamed() throws Exception {
    try (Pair pair = new Pair(Kind.TCP)) {
      isNotBlamed(pair);
    }
  }

  private static void isNotBlamed(Pair pair) throws Exception {
    Future<Integer> waiting = pair.receive();
    pair.awaitWaiting();
    pair.pass(60);
    pair.send();
    assertThat(waiting.get(20, SECONDS)).isEqualTo(BYTES);
  }

  /** A network that was silent for some seconds goes on. */
  @ParameterizedTest
  @EnumSource
  void aShortSilenceIsForgotten(Kind kind) throws Exception {
    try (Pair pair = new Pair(kind)) {
      pair.exchange();
      for (int time = 0; time < 3; time++) {
        pair.stop();
        pair.send();
        Future<Integer> waiting = pair.receive();
        pair.awaitWaiting();
        pair.pass(6);
        pair.heal();
        assertThat(waiting.get(20, SECONDS)).isEqualTo(BYTES);
      }
    }
  }

  /** Nobody is told of groups that there are not, nor of ranks that are in none. */
  @Test
  void strangeQuestionsAreNotAnswered() throws Exception {
    try (Pair pair = new Pair(Kind.TCP_STREAMS)) {
      pair.exchange();
      OpenGroups groups = pair.open.get(0);
      Deliveries.Way way = new Deliveries.Way(GroupId.WORLD, 0);
      assertThat(groups.handedOver(1, way).orElseThrow()).isGreaterThan(BYTES);
      assertThat(groups.handedOver(1, new Deliveries.Way(GroupId.WORLD, 9))).hasValue(0);
      assertThat(groups.handedOver(0, way)).as("oneself").isEmpty();
      assertThat(groups.handedOver(2, way)).isEmpty();
      assertThat(groups.handedOver(1, new Deliveries.Way(new GroupId(5, 0), 0))).isEmpty();
      groups.answered(1, way, 1_000_000);
    }
  }
}
