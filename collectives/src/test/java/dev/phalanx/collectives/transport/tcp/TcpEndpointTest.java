package dev.phalanx.collectives.transport.tcp;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Frame;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.LastWord;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.handshake.ConnectingSide;
import dev.phalanx.collectives.transport.handshake.Hello;
import dev.phalanx.collectives.transport.handshake.Meeting;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class TcpEndpointTest {
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();
  private static final Duration LONG = Duration.ofSeconds(20);

  private final JobToken token = JobToken.random();

  private TcpEndpoint endpoint(JobToken secret, String name) throws Exception {
    return endpoint(secret, name, 1);
  }

  private TcpEndpoint endpoint(JobToken secret, String name, int streams) throws Exception {
    return TcpEndpoint.listen(LOOPBACK, secret, name, streams);
  }

  private static Transport transport(
      TcpEndpoint endpoint, int rank, List<InetSocketAddress> members, Duration timeout) {
    return new Transport(
        rank,
        Topology.ofOneHost("tcp", members.size(), TcpEndpoint.COST, TcpEndpoint.PIECE_BYTES),
        endpoint.links(GroupId.WORLD, rank, members, timeout));
  }

  @Test
  void aPeerWithAnotherTokenIsCutOffAndToldSo() throws Exception {
    try (TcpEndpoint listening = endpoint(token, "a");
        TcpEndpoint stranger = endpoint(JobToken.random(), "b")) {
      List<InetSocketAddress> members = List.of(listening.address(), stranger.address());
      try (Transport transport = transport(stranger, 1, members, LONG)) {
        assertThatThrownBy(() -> transport.receive(0, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessageStartingWith("cannot be reached at ")
            .hasMessageContaining("another job");
      }
    }
  }

  @Test
  void aRankThatDoesNotListenIsNamed() throws Exception {
    try (TcpEndpoint listening = endpoint(token, "a")) {
      List<InetSocketAddress> members =
          List.of(listening.address(), new InetSocketAddress(LOOPBACK, 1));
      try (Transport transport = transport(listening, 0, members, LONG)) {
        assertThatThrownBy(() -> transport.receive(1, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessageContaining("cannot be reached");
      }
    }
  }

  /** As behind a firewall that lets connections be made and swallows what is sent on them. */
  @Test
  void aPeerWhoseGreetingNeverComesIsNamedLongBeforeTheTimeOut() throws Exception {
    try (TcpEndpoint endpoint = endpoint(token, "a");
        ServerSocket silent = new ServerSocket(0, 1, LOOPBACK)) {
      List<InetSocketAddress> members =
          List.of(endpoint.address(), (InetSocketAddress) silent.getLocalSocketAddress());
      Duration timeout = Duration.ofMinutes(5);
      try (Transport transport = transport(endpoint, 0, members, timeout)) {
        assertThatThrownBy(() -> transport.receive(1, null, Deadline.after(timeout)))
            .isInstanceOf(PeerLostException.class)
            .hasMessageStartingWith("has not answered at ")
            .hasMessageContaining(":" + silent.getLocalPort() + " within 10 s")
            .hasMessageContaining("firewalls");
      }
    }
  }

  /** Each opens connections of its own, and is told by the other. */
  @Test
  void ranksWithDifferentNumbersOfStreamsAreToldSo() throws Exception {
    try (TcpEndpoint first = endpoint(token, "a", 3);
        TcpEndpoint second = endpoint(token, "b", 2)) {
      List<InetSocketAddress> members = List.of(first.address(), second.address());
      try (Transport one = transport(first, 0, members, LONG);
          Transport other = transport(second, 1, members, LONG)) {
        assertThatThrownBy(() -> one.receive(1, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessageStartingWith("has 2 streams to each rank where this one has 3; ");
        assertThatThrownBy(() -> other.receive(0, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessageStartingWith("has 3 streams to each rank where this one has 2; ");
      }
      assertThat(first.refusedConnections() + second.refusedConnections()).isZero();
    }
  }

  /** A connection of rank 1 to rank 0, on which the test speaks itself. */
  private Socket connected(TcpEndpoint endpoint, int stream, int streams) throws Exception {
    Socket socket = new Socket(LOOPBACK, endpoint.address().getPort());
    InputStream in = socket.getInputStream();
    ConnectingSide side =
        new ConnectingSide(token, new Hello("tcp", GroupId.WORLD, 1, 0, stream, streams));
    ByteBuffer hello = side.hello(ByteBuffer.wrap(in.readNBytes(Hello.GREETING_BYTES)));
    socket.getOutputStream().write(hello.array());
    Meeting.Answer answer = side.answer(ByteBuffer.wrap(in.readNBytes(Hello.ANSWER_BYTES)));
    assertThat(answer.kind()).isEqualTo(Meeting.Answer.Kind.WELCOME);
    return socket;
  }

  @Test
  void aStreamThatEndsWhileAnotherOneIsDueEndsTheWait() throws Exception {
    try (TcpEndpoint endpoint = endpoint(token, "a", 2);
        Socket due = connected(endpoint, 0, 2);
        Socket other = connected(endpoint, 1, 2)) {
      other.close();
      List<InetSocketAddress> members = List.of(endpoint.address(), endpoint.address());
      try (Transport transport = transport(endpoint, 0, members, LONG)) {
        assertThatThrownBy(() -> transport.receive(1, null, Deadline.after(LONG)))
            .isInstanceOf(PeerLostException.class)
            .hasMessageContaining("closed without a farewell");
      }
      assertThat(due.isClosed()).isFalse();
    }
  }

  /** Its connection to the rendezvous ends as well, and tells less than it has said itself. */
  @Test
  void whatALostPeerHasSaidLastIsWhyNothingIsSentToIt() throws Exception {
    Call call = new Call(7, Operation.BARRIER, null, null, -1, 0);
    LastWord word = LastWord.abort("rank 2 is gone");
    ByteBuffer data =
        new Frame(Frame.DATA, 0, 0, 0, call).sealed(ByteBuffer.allocate(0), new CRC32C());
    ByteBuffer last = word.frame().sealed(word.payload(), new CRC32C());
    try (TcpEndpoint endpoint = endpoint(token, "a");
        Socket peer = connected(endpoint, 0, 1)) {
      List<InetSocketAddress> members = List.of(endpoint.address(), endpoint.address());
      try (Transport transport = transport(endpoint, 0, members, LONG)) {
        ByteBuffer both = ByteBuffer.allocate(1024).put(data).put(last).put(word.payload()).flip();
        peer.getOutputStream().write(both.array(), 0, both.limit());
        try (Message message = transport.receive(1, null, Deadline.after(LONG))) {
          assertThat(message).isNotNull(); // so the word has come too
        }
        transport.lost(1, "is gone: its connection to the rendezvous has ended");
        assertThatThrownBy(() -> transport.send(1, call, 0, ByteBuffer.allocateDirect(8)))
            .isInstanceOf(PeerLostException.class)
            .hasMessage("cannot go on: rank 2 is gone");
      }
    }
  }

  /** What an earlier message's stream has not brought yet holds up the later ones. */
  @Test
  void messagesKeepTheirOrderOverSeveralStreams() throws Exception {
    try (TcpEndpoint first = endpoint(token, "a", 4);
        TcpEndpoint second = endpoint(token, "b", 4)) {
      List<InetSocketAddress> members = List.of(first.address(), second.address());
      try (Transport one = transport(first, 0, members, LONG);
          Transport other = transport(second, 1, members, LONG)) {
        Call call = new Call(7, Operation.BARRIER, null, null, -1, 0);
        int messages = 100;
        for (int piece = 0; piece < messages; piece++) { // long ones among short ones
          ByteBuffer payload = ByteBuffer.allocate(piece % 7 == 0 ? TcpEndpoint.PIECE_BYTES : 5);
          one.send(1, call, piece, payload);
        }
        CompletableFuture<Integer> flushing =
            CompletableFuture.supplyAsync(
                () -> {
                  try {
                    return one.flush(Deadline.after(LONG));
                  } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                  }
                });
        for (int piece = 0; piece < messages; piece++) {
          try (Message message = other.receive(0, null, Deadline.after(LONG))) {
            assertThat(message).isNotNull();
            assertThat(message.piece()).isEqualTo(piece);
          }
        }
        assertThat(flushing.get(30, SECONDS)).isEqualTo(-1);
      }
    }
  }

  /**
   * The receiver is behind, and says in which call it is: that must not make the kernel drop what
   * has been sent to it, and its sender's process must not end before it has come.
   */
  @Test
  void whatWasSentStillArrivesWhenTheSenderHasLeftAndHearsMore() throws Exception {
    Call call = new Call(7, Operation.BARRIER, null, null, -1, 0);
    int pieces = 2; // together more than the receiver's kernel takes unread
    try (TcpEndpoint receiving = endpoint(token, "b")) {
      TcpEndpoint sending = endpoint(token, "a");
      List<InetSocketAddress> members = List.of(sending.address(), receiving.address());
      CompletableFuture<Void> closing;
      try (Transport receiver = transport(receiving, 1, members, LONG)) {
        Transport sender = transport(sending, 0, members, LONG);
        for (int piece = 0; piece < pieces; piece++) {
          ByteBuffer payload = ByteBuffer.allocateDirect(TcpEndpoint.PIECE_BYTES);
          payload.put(0, (byte) piece).put(TcpEndpoint.PIECE_BYTES - 1, (byte) ~piece);
          sender.send(1, call, piece, payload);
        }
        assertThat(sender.flush(Deadline.after(LONG))).isEqualTo(-1);
        sender.close();
        closing = CompletableFuture.runAsync(sending::close);
        receiver.send(0, call, 0, ByteBuffer.allocateDirect(8));
        assertThat(receiver.flush(Deadline.after(LONG))).isEqualTo(-1);
        for (int piece = 0; piece < pieces; piece++) {
          try (Message message = receiver.receive(0, null, Deadline.after(LONG))) {
            assertThat(message).isNotNull();
            assertThat(message.payload().get(0)).isEqualTo((byte) piece);
            assertThat(message.payload().get(TcpEndpoint.PIECE_BYTES - 1)).isEqualTo((byte) ~piece);
          }
        }
        assertThat(closing.isDone()).isFalse(); // it waits for the receiver's own farewell
      }
      closing.get(5, SECONDS); // and no longer
    }
  }

  /** A listener that speaks the protocol up to the frames, which the test writes by hand. */
  private Transport connectedTo(CompletableFuture<Socket> peer) throws Exception {
    ServerSocket server = new ServerSocket(0, 1, LOOPBACK);
    Thread accepting =
        new Thread(
            () -> {
              try (server) {
                Socket socket = server.accept();
                DataOutputStream out = new DataOutputStream(socket.getOutputStream());
                DataInputStream in = new DataInputStream(socket.getInputStream());
                ByteBuffer magic = ByteBuffer.allocate(Hello.MAGIC_BYTES);
                Hello.writeMagic(magic);
                out.write(magic.array());
                byte[] own = new byte[Hello.CHALLENGE_BYTES];
                out.write(own);
                in.readNBytes(Hello.MAGIC_BYTES + Hello.WHO_BYTES);
                byte[] challenge = in.readNBytes(Hello.CHALLENGE_BYTES);
                in.readNBytes(Hello.PROOF_BYTES);
                Hello hello = new Hello("tcp", GroupId.WORLD, 1, 0);
                out.write(hello.listenerProof(token, own, challenge));
                out.writeByte(Meeting.Answer.Kind.WELCOME.ordinal());
                out.writeShort(0);
                peer.complete(socket);
              } catch (Exception e) {
                peer.completeExceptionally(e);
              }
            },
            "fake-peer");
    accepting.setDaemon(true);
    accepting.start();
    TcpEndpoint endpoint = endpoint(token, "a");
    Transport transport =
        transport(
            endpoint,
            1,
            List.of((InetSocketAddress) server.getLocalSocketAddress(), endpoint.address()),
            LONG);
    assertThat(transport.receive(0, null, Deadline.after(Duration.ofMillis(1)))).isNull();
    return transport;
  }

  @Test
  void aConnectionThatEndsWithoutAFarewellIsALoss() throws Exception {
    CompletableFuture<Socket> peer = new CompletableFuture<>();
    try (Transport transport = connectedTo(peer)) {
      peer.get(30, SECONDS).close();
      assertThatThrownBy(() -> transport.receive(0, null, Deadline.after(LONG)))
          .isInstanceOf(PeerLostException.class)
          .hasMessageContaining("closed without a farewell");
    }
  }

  @Test
  void aDamagedFrameEndsTheConnectionAndIsNamed() throws Exception {
    CompletableFuture<Socket> peer = new CompletableFuture<>();
    try (Transport transport = connectedTo(peer)) {
      DataOutputStream out = new DataOutputStream(peer.get(30, SECONDS).getOutputStream());
      out.write(new byte[] {Frame.DATA, 0, 0, 0}); // all_reduce of FLOAT32, summed
      out.writeInt(4); // bytes
      out.writeLong(0); // sequence
      out.writeLong(1); // elements
      out.writeInt(-1); // root
      out.writeInt(0); // piece
      out.writeInt(12345); // a checksum that four zeros do not have
      out.writeInt(0); // reserved
      out.writeInt(0); // the payload
      assertThatThrownBy(() -> transport.receive(0, null, Deadline.after(LONG)))
          .isInstanceOf(PeerLostException.class)
          .hasMessageContaining("damaged frame of all_reduce #0");
    }
  }

  @Test
  void aFrameLongerThanAnyoneSendsIsRefusedWithoutRoomForIt() throws Exception {
    CompletableFuture<Socket> peer = new CompletableFuture<>();
    try (Transport transport = connectedTo(peer)) {
      DataOutputStream out = new DataOutputStream(peer.get(30, SECONDS).getOutputStream());
      out.write(new byte[] {Frame.DATA, 0, 0, 0});
      out.writeInt(Integer.MAX_VALUE);
      out.write(new byte[32]);
      assertThatThrownBy(() -> transport.receive(0, null, Deadline.after(LONG)))
          .isInstanceOf(PeerLostException.class)
          .hasMessageContaining("2147483647 bytes");
    }
  }

  @Test
  void bytesThatMakeNoSenseDoNotHurtAnEndpoint() throws Exception {
    try (TcpEndpoint first = endpoint(token, "a");
        TcpEndpoint second = endpoint(token, "b")) {
      try (Socket socket = new Socket(LOOPBACK, first.address().getPort())) {
        socket.getOutputStream().write(new byte[5000]);
      }
      List<InetSocketAddress> members = List.of(first.address(), second.address());
      try (Transport one = transport(first, 0, members, LONG);
          Transport other = transport(second, 1, members, LONG)) {
        Call call = new Call(7, Operation.BARRIER, null, null, -1, 0);
        one.send(1, call, 0, ByteBuffer.allocateDirect(3));
        one.flush(Deadline.after(LONG));
        try (Message message = other.receive(0, null, Deadline.after(LONG))) {
          assertThat(message).isNotNull();
          assertThat(message.call()).isEqualTo(call);
          assertThat(message.payload().remaining()).isEqualTo(3);
        }
      }
    }
  }
}
