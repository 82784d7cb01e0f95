package dev.phalanx.collectives.transport.tcp;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Frame;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.Transport;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class TcpEndpointTest {
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();
  private static final Duration LONG = Duration.ofSeconds(20);

  private final JobToken token = JobToken.random();

  private TcpEndpoint endpoint(JobToken secret, String name) throws Exception {
    return TcpEndpoint.listen(LOOPBACK, secret, name);
  }

  private static Future<Transport> connect(
      TcpEndpoint endpoint, int rank, List<InetSocketAddress> members, Duration timeout) {
    FutureTask<Transport> task =
        new FutureTask<>(
            () -> endpoint.connect(GroupId.WORLD, rank, members, Deadline.after(timeout)));
    Thread thread = new Thread(task, "connecting-" + rank);
    thread.setDaemon(true);
    thread.start();
    return task;
  }

  @Test
  void aPeerWithAnotherTokenIsCutOffAndToldSo() throws Exception {
    try (TcpEndpoint listening = endpoint(token, "a");
        TcpEndpoint stranger = endpoint(JobToken.random(), "b")) {
      List<InetSocketAddress> members = List.of(listening.address(), stranger.address());
      assertThatThrownBy(() -> stranger.connect(GroupId.WORLD, 1, members, Deadline.after(LONG)))
          .isInstanceOf(CollectiveException.class)
          .hasMessageContaining("rank 1 connecting to rank 0")
          .hasMessageContaining("another job");
    }
  }

  @Test
  void aRankThatDoesNotConnectIsNamed() throws Exception {
    try (TcpEndpoint listening = endpoint(token, "a")) {
      List<InetSocketAddress> members =
          List.of(listening.address(), new InetSocketAddress(LOOPBACK, 1));
      assertThatThrownBy(
              () ->
                  listening.connect(
                      GroupId.WORLD, 0, members, Deadline.after(Duration.ofMillis(200))))
          .isInstanceOf(CollectiveTimeoutException.class)
          .hasMessageContaining("no connection with rank 1");
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
                byte[] magic = {'P', 'H', 'L', 'X', 0, 1, 'L', 0};
                out.write(magic);
                out.write(new byte[Hello.CHALLENGE_BYTES]);
                in.readNBytes(Hello.MAGIC_BYTES + 16);
                byte[] challenge = in.readNBytes(Hello.CHALLENGE_BYTES);
                in.readNBytes(Hello.PROOF_BYTES);
                out.write(new Hello(GroupId.WORLD, 1, 0).listenerProof(token, challenge));
                peer.complete(socket);
              } catch (Exception e) {
                peer.completeExceptionally(e);
              }
            },
            "fake-peer");
    accepting.setDaemon(true);
    accepting.start();
    TcpEndpoint endpoint = endpoint(token, "a");
    return connect(
            endpoint,
            1,
            List.of((InetSocketAddress) server.getLocalSocketAddress(), endpoint.address()),
            LONG)
        .get(30, SECONDS);
  }

  @Test
  void aConnectionThatEndsWithoutAFarewellIsALoss() throws Exception {
    CompletableFuture<Socket> peer = new CompletableFuture<>();
    try (Transport transport = connectedTo(peer)) {
      peer.get(30, SECONDS).close();
      assertThatThrownBy(() -> transport.receive(0, Deadline.after(LONG)))
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
      assertThatThrownBy(() -> transport.receive(0, Deadline.after(LONG)))
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
      assertThatThrownBy(() -> transport.receive(0, Deadline.after(LONG)))
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
      Future<Transport> one = connect(first, 0, members, LONG);
      Future<Transport> other = connect(second, 1, members, LONG);
      assertThat(one.get(30, SECONDS).size()).isEqualTo(2);
      assertThat(other.get(30, SECONDS).size()).isEqualTo(2);
    }
  }
}
