package dev.phalanx.collectives.transport.grpc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.handshake.Hello;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

@Timeout(60)
final class GrpcEndpointTest {
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final Duration SHORT = Duration.ofMillis(300);
  private static final Call CALL = new Call(7, Operation.BARRIER, null, null, -1, 0);

  private final JobToken token = JobToken.random();

  private static GrpcEndpoint endpoint(JobToken secret, String name) throws Exception {
    return endpoint(secret, Encryption.NONE, name);
  }

  private static GrpcEndpoint endpoint(JobToken secret, Encryption encryption, String name)
      throws Exception {
    return GrpcEndpoint.listen(LOOPBACK, Credentials.of(secret, encryption), name);
  }

  private static Transport transport(
      GrpcEndpoint endpoint, int rank, List<InetSocketAddress> members) {
    return new Transport(
        rank,
        Topology.ofOneHost("grpc", members.size(), GrpcEndpoint.COST, GrpcEndpoint.PIECE_BYTES),
        endpoint.links(GroupId.WORLD, rank, members, LONG));
  }

  @Test
  void aPeerWithAnotherTokenIsCutOffToldSoAndCounted() throws Exception {
    try (GrpcEndpoint listening = endpoint(token, "a");
        GrpcEndpoint stranger = endpoint(JobToken.random(), "b")) {
      List<InetSocketAddress> members = List.of(listening.address(), stranger.address());
      try (Transport transport = transport(stranger, 1, members)) {
        assertThatThrownBy(() -> transport.receive(0, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessageStartingWith("cannot be reached at ")
            .hasMessageContaining("another job");
      }
      assertThat(listening.refusedStreams()).isEqualTo(1);
    }
  }

  @ParameterizedTest
  @EnumSource(Encryption.class)
  void aPeerWithoutACertificateOfTheJobIsCounted(Encryption strangers) throws Exception {
    try (GrpcEndpoint listening = endpoint(token, Encryption.TLS, "a");
        GrpcEndpoint stranger = endpoint(JobToken.random(), strangers, "b")) {
      List<InetSocketAddress> members = List.of(listening.address(), stranger.address());
      try (Transport transport = transport(stranger, 1, members)) {
        assertThatThrownBy(() -> transport.receive(0, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class);
      }
      long end = System.nanoTime() + LONG.toNanos();
      while (listening.refusedStreams() == 0 && System.nanoTime() < end) {
        LockSupport.parkNanos(1_000_000); // the two sides hear of it at about the same time
      }
      assertThat(listening.refusedStreams()).isEqualTo(1);
    }
  }

  @Test
  void aMemberIsNotCounted() throws Exception {
    try (GrpcEndpoint first = endpoint(token, Encryption.TLS, "a");
        GrpcEndpoint second = endpoint(token, Encryption.TLS, "b")) {
      List<InetSocketAddress> members = List.of(first.address(), second.address());
      try (Transport one = transport(first, 0, members);
          Transport other = transport(second, 1, members)) {
        one.send(1, CALL, 5, filled(5, 1000));
        one.flush(Deadline.after(LONG));
        assertThatNextIs(other, 5, 1000);
      }
      assertThat(first.refusedStreams() + second.refusedStreams()).isZero();
    }
  }

  @Test
  void aRankThatDoesNotListenIsNamed() throws Exception {
    try (GrpcEndpoint listening = endpoint(token, "a")) {
      List<InetSocketAddress> members =
          List.of(listening.address(), new InetSocketAddress(LOOPBACK, 1));
      try (Transport transport = transport(listening, 0, members)) {
        assertThatThrownBy(() -> transport.receive(1, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessageContaining("cannot be reached at")
            .hasMessageContaining("Connection refused");
      }
    }
  }

  /** As behind a firewall that lets connections be made and swallows what is sent on them. */
  @Test
  void aPeerWhoseGreetingNeverComesIsNamedLongBeforeTheTimeOut() throws Exception {
    try (GrpcEndpoint endpoint = endpoint(token, "a");
        ServerSocket silent = new ServerSocket(0, 1, LOOPBACK)) {
      List<InetSocketAddress> members =
          List.of(endpoint.address(), (InetSocketAddress) silent.getLocalSocketAddress());
      try (Transport transport = transport(endpoint, 0, members)) {
        assertThatThrownBy(() -> transport.receive(1, null, Deadline.after(Duration.ofMinutes(5))))
            .isInstanceOf(PeerLostException.class)
            .hasMessageStartingWith("has not answered at ")
            .hasMessageContaining(":" + silent.getLocalPort() + " within 10 s")
            .hasMessageContaining("firewalls");
      }
    }
  }

  @Test
  void theWildcardIsNoAddress() {
    assertThatThrownBy(
            () ->
                GrpcEndpoint.listen(
                    new InetSocketAddress(0).getAddress(),
                    Credentials.of(token, Encryption.NONE),
                    "a"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("one address");
  }

  private interface Misdeed {
    void by(FakePeer peer) throws Exception;
  }

  private void assertThatItEndsTheLink(Misdeed misdeed, String reason) throws Exception {
    try (FakePeer peer = new FakePeer(token);
        GrpcEndpoint endpoint = endpoint(token, "a")) {
      List<InetSocketAddress> members = List.of(peer.address(), endpoint.address());
      try (Transport transport = transport(endpoint, 1, members)) {
        assertThat(transport.receive(0, null, Deadline.after(Duration.ofMillis(1)))).isNull();
        misdeed.by(peer);
        assertThatThrownBy(() -> transport.receive(0, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessageContaining(reason);
      }
    }
  }

  @Test
  void aStreamThatEndsWithoutAFarewellIsALoss() throws Exception {
    assertThatItEndsTheLink(FakePeer::die, "ended without a farewell");
  }

  @Test
  void aDamagedFrameEndsTheStreamAndIsNamed() throws Exception {
    assertThatItEndsTheLink(
        peer -> peer.send(FakePeer.frame(4, 4, 12345)), "damaged frame of all_reduce #0");
  }

  @ParameterizedTest
  @CsvSource({
    "2147483647, 0, a frame of 2147483647 bytes",
    "4, 5, a frame of 4 bytes in a message that has 5",
    "5, 4, a frame of 5 bytes in a message that has 4",
    "300000, 300000, exceeds maximum size"
  })
  void aFrameOfAnotherLengthThanAnyoneSendsIsRefused(int said, int sent, String reason)
      throws Exception {
    assertThatItEndsTheLink(peer -> peer.send(FakePeer.frame(said, sent, 0)), reason);
  }

  @Test
  void aMessageThatIsNoFrameIsRefused() throws Exception {
    assertThatItEndsTheLink(peer -> peer.send(ByteBuffer.allocate(3)), "shorter than a frame");
    assertThatItEndsTheLink(peer -> peer.send(ByteBuffer.allocate(40)), "unknown kind 0");
  }

  /** What a stranger hears who sends this as the first message. */
  private static Status answerToStranger(InetSocketAddress address, ByteBuffer message)
      throws Exception {
    ManagedChannel channel = NettyChannelBuilder.forAddress(address).usePlaintext().build();
    CompletableFuture<Status> heard = new CompletableFuture<>();
    ClientCall<InputStream, InputStream> call =
        channel.newCall(FrameMethod.EXCHANGE, CallOptions.DEFAULT);
    call.start(
        new ClientCall.Listener<>() {
          @Override
          public void onClose(Status status, Metadata trailers) {
            heard.complete(status);
          }
        },
        new Metadata());
    call.request(10);
    call.sendMessage(FrameMethod.message(message));
    try {
      return heard.get(30, TimeUnit.SECONDS);
    } finally {
      channel.shutdownNow();
    }
  }

  @Test
  void strangersAreCountedAndHarmNobody() throws Exception {
    try (GrpcEndpoint first = endpoint(token, "a");
        GrpcEndpoint second = endpoint(token, "b")) {
      try (Socket socket = new Socket(LOOPBACK, first.address().getPort())) {
        socket.getOutputStream().write(new byte[5000]);
      }
      for (int bytes : new int[] {0, Hello.HELLO_BYTES - 1, Hello.HELLO_BYTES, 5000}) {
        Status status = answerToStranger(first.address(), ByteBuffer.allocate(bytes));
        assertThat(status.getCode()).isEqualTo(Status.Code.UNAUTHENTICATED);
        assertThat(status.getDescription()).isNull();
      }
      long end = System.nanoTime() + LONG.toNanos();
      while (first.refusedStreams() < 5 && System.nanoTime() < end) { // a connection's end is seen
        Thread.onSpinWait(); // by the event loop
      }
      assertThat(first.refusedStreams()).isEqualTo(5);
      List<InetSocketAddress> members = List.of(first.address(), second.address());
      try (Transport one = transport(first, 0, members);
          Transport other = transport(second, 1, members)) {
        one.send(1, CALL, 0, ByteBuffer.allocateDirect(3));
        one.flush(Deadline.after(LONG));
        try (Message message = other.receive(0, null, Deadline.after(LONG))) {
          assertThat(message).isNotNull();
          assertThat(message.call()).isEqualTo(CALL);
          assertThat(message.payload().remaining()).isEqualTo(3);
        }
      }
    }
  }

  private static ByteBuffer filled(int value, int bytes) {
    ByteBuffer memory = ByteBuffer.allocateDirect(bytes);
    while (memory.hasRemaining()) {
      memory.put((byte) value);
    }
    return memory.flip();
  }

  private static void assertThatNextIs(Transport receiver, int value, int bytes) throws Exception {
    ByteBuffer into = ByteBuffer.allocateDirect(bytes);
    try (Message message = receiver.receive(0, into, Deadline.after(LONG))) {
      assertThat(message).isNotNull();
      assertThat(message.isInPlace()).isTrue();
      assertThat(message.piece()).isEqualTo(value);
      assertThat(into).isEqualTo(filled(value, bytes));
    }
  }

  @Test
  void aRankThatDoesNotReadHoldsItsSenderBackAndGetsEverything() throws Exception {
    int messages = 200; // 50 MiB, more than all buffers on the way hold
    int bytes = GrpcEndpoint.PIECE_BYTES;
    try (GrpcEndpoint first = endpoint(token, "a");
        GrpcEndpoint second = endpoint(token, "b")) {
      List<InetSocketAddress> members = List.of(first.address(), second.address());
      try (Transport one = transport(first, 0, members);
          Transport other = transport(second, 1, members)) {
        for (int i = 0; i < messages; i++) {
          one.send(1, CALL, i, filled(i, bytes));
        }
        assertThat(one.flush(Deadline.after(SHORT))).isEqualTo(1);
        for (int i = 0; i < messages; i++) {
          assertThatNextIs(other, i, bytes);
        }
        assertThat(one.flush(Deadline.after(LONG))).isEqualTo(-1);
      }
    }
  }

  @Test
  void whatWasSentBeforeTheFarewellArrives() throws Exception {
    int messages = 20;
    try (GrpcEndpoint first = endpoint(token, "a");
        GrpcEndpoint second = endpoint(token, "b")) {
      List<InetSocketAddress> members = List.of(first.address(), second.address());
      try (Transport one = transport(first, 0, members);
          Transport other = transport(second, 1, members)) {
        for (int i = 0; i < messages; i++) {
          one.send(1, CALL, i, filled(i, 1000));
        }
        one.flush(Deadline.after(LONG));
        one.close();
        for (int i = 0; i < messages; i++) {
          assertThatNextIs(other, i, 1000);
        }
        assertThatThrownBy(() -> other.receive(0, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessage("has left the group");
      }
    }
  }

  @Test
  void aReasonToGiveUpReachesAPeerThatConnectsOnlyThen() throws Exception {
    try (GrpcEndpoint first = endpoint(token, "a");
        GrpcEndpoint second = endpoint(token, "b")) {
      List<InetSocketAddress> members = List.of(first.address(), second.address());
      try (Transport one = transport(first, 0, members);
          Transport other = transport(second, 1, members)) {
        one.abort("the disk is full");
        assertThatThrownBy(() -> other.receive(0, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessage("cannot go on: the disk is full");
      }
    }
  }
}
