package dev.phalanx.collectives.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.ReduceOperation;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Call;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Frame;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Message;
import dev.phalanx.collectives.transport.Operation;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.Topology;
import dev.phalanx.collectives.transport.Transport;
import dev.phalanx.collectives.transport.handshake.Hello;
import dev.phalanx.collectives.transport.handshake.ListeningSide;
import dev.phalanx.collectives.transport.handshake.Meeting;
import dev.phalanx.collectives.transport.handshake.Meetings;
import dev.phalanx.collectives.transport.handshake.Refusals;
import dev.phalanx.tensor.DType;
import io.netty.buffer.Unpooled;
import io.netty.channel.embedded.EmbeddedChannel;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Whoever sends nonsense to a data port loses that connection, and nobody else notices. */
@Timeout(60)
final class FuzzTest {
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final Call CALL =
      new Call(3, Operation.ALL_REDUCE, DType.FLOAT32, ReduceOperation.SUM, -1, 6);

  private final JobToken token = JobToken.random();
  private final TcpEndpoint first = listen();
  private final TcpEndpoint second = listen();

  private TcpEndpoint listen() {
    try {
      return TcpEndpoint.listen(LOOPBACK, token, "fuzzed", 1);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private Transport transport(TcpEndpoint endpoint, GroupId group, int rank) {
    List<InetSocketAddress> members = List.of(first.address(), second.address());
    return new Transport(
        rank,
        Topology.ofOneHost("tcp", 2, TcpEndpoint.COST, TcpEndpoint.PIECE_BYTES),
        endpoint.links(group, rank, members, LONG));
  }

  private final Transport one = transport(first, GroupId.WORLD, 0);
  private final Transport other = transport(second, GroupId.WORLD, 1);

  @BeforeEach
  void bothRanksWork() throws Exception {
    requireWorking();
  }

  @AfterEach
  void bothRanksStillWork() throws Exception {
    requireWorking();
    one.close();
    other.close();
    first.close();
    second.close();
  }

  private void requireWorking() throws InterruptedException {
    pass(one, other);
    pass(other, one);
  }

  private static void pass(Transport sender, Transport receiver) throws InterruptedException {
    sender.send(receiver.rank(), CALL, 0, ByteBuffer.allocateDirect(24));
    assertThat(sender.flush(Deadline.after(LONG))).isNegative();
    try (Message message = receiver.receive(sender.rank(), null, Deadline.after(LONG))) {
      assertThat(message).isNotNull();
      assertThat(message.call()).isEqualTo(CALL);
    }
  }

  private Socket connect() throws IOException {
    Socket socket = new Socket(LOOPBACK, first.address().getPort());
    socket.setSoTimeout((int) LONG.toMillis());
    return socket;
  }

  /** Reads to the end, which the other side makes. */
  private static void requireClosed(Socket socket) throws IOException {
    try {
      socket.getInputStream().readAllBytes();
    } catch (SocketException e) {
      // A reset is an end too.
    }
  }

  private void requireRefused(byte[] bytes) throws IOException {
    long before = first.refusedConnections();
    try (Socket socket = connect()) {
      socket.getOutputStream().write(bytes);
      requireClosed(socket);
    }
    assertThat(first.refusedConnections()).isEqualTo(before + 1);
  }

  @Test
  void randomBytesAreRefusedAndCounted() throws Exception {
    Random random = new Random(1);
    for (int round = 0; round < 50; round++) {
      byte[] bytes = new byte[Hello.MAGIC_BYTES + random.nextInt(3000)];
      random.nextBytes(bytes);
      requireRefused(bytes);
    }
  }

  @Test
  void whoGoesBeforeItHasToldWhoItIsIsCounted() throws Exception {
    for (int bytes : new int[] {0, 3, Hello.MAGIC_BYTES}) {
      long before = first.refusedConnections();
      try (Socket socket = connect()) {
        greeting(socket);
        ByteBuffer magic = ByteBuffer.allocate(Hello.MAGIC_BYTES);
        Hello.writeMagic(magic);
        socket.getOutputStream().write(magic.array(), 0, bytes);
      }
      long end = System.nanoTime() + LONG.toNanos();
      while (first.refusedConnections() == before && System.nanoTime() < end) {
        Thread.onSpinWait();
      }
      assertThat(first.refusedConnections()).isEqualTo(before + 1);
    }
  }

  @Test
  void aBrowserIsRefused() throws Exception {
    requireRefused("GET / HTTP/1.1\r\nHost: x\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
  }

  @Test
  void aTlsClientIsRefused() throws Exception {
    byte[] clientHello = new byte[517];
    new Random(2).nextBytes(clientHello);
    System.arraycopy(
        new byte[] {0x16, 3, 1, 2, 0, 1, 0, 1, (byte) 0xfc, 3, 3}, 0, clientHello, 0, 11);
    requireRefused(clientHello);
  }

  /** The magic is right, and nothing after it. */
  @Test
  void aHelloOfRandomBytesIsRefused() throws Exception {
    Random random = new Random(3);
    for (int round = 0; round < 20; round++) {
      byte[] bytes = new byte[Hello.HELLO_BYTES];
      random.nextBytes(bytes);
      Hello.writeMagic(ByteBuffer.wrap(bytes));
      requireRefused(bytes);
    }
  }

  private static byte[] greeting(Socket socket) throws IOException {
    DataInputStream in = new DataInputStream(socket.getInputStream());
    in.readNBytes(Hello.MAGIC_BYTES);
    return in.readNBytes(Hello.CHALLENGE_BYTES);
  }

  private byte[] hello(Hello hello, byte[] challenge) {
    ByteBuffer message = ByteBuffer.allocate(Hello.HELLO_BYTES);
    Hello.writeMagic(message);
    hello.write(message);
    byte[] own = Hello.newChallenge();
    message.put(own).put(hello.connectorProof(token, challenge, own));
    return message.array();
  }

  /** A connection of a rank of the job, whose frames the test makes. */
  private Socket connected(Hello hello) throws IOException {
    Socket socket = connect();
    socket.getOutputStream().write(hello(hello, greeting(socket)));
    byte[] answer = socket.getInputStream().readNBytes(Hello.ANSWER_BYTES);
    assertThat(answer).hasSize(Hello.ANSWER_BYTES);
    assertThat(answer[Hello.PROOF_BYTES]).isEqualTo((byte) Meeting.Answer.Kind.WELCOME.ordinal());
    return socket;
  }

  @Test
  void aProofThatWasHeardBeforeIsRefused() throws Exception {
    Hello hello = new Hello(TcpEndpoint.CARRIER, new GroupId(77, 0), 1, 0);
    byte[] heard;
    try (Socket socket = connect()) {
      heard = hello(hello, greeting(socket));
      socket.getOutputStream().write(heard);
      assertThat(socket.getInputStream().readNBytes(Hello.ANSWER_BYTES))
          .as("it is right once")
          .hasSize(Hello.ANSWER_BYTES);
    }
    requireRefused(heard);
  }

  @Test
  void aProofForAnotherRankOrGroupIsRefused() throws Exception {
    Hello hello = new Hello(TcpEndpoint.CARRIER, new GroupId(78, 0), 1, 0);
    for (Hello pretended :
        List.of(
            new Hello(TcpEndpoint.CARRIER, new GroupId(78, 1), 1, 0),
            new Hello(TcpEndpoint.CARRIER, new GroupId(79, 0), 1, 0),
            new Hello(TcpEndpoint.CARRIER, new GroupId(78, 0), 2, 0),
            new Hello(TcpEndpoint.CARRIER, new GroupId(78, 0), 1, 3),
            new Hello(TcpEndpoint.CARRIER, new GroupId(78, 0), 1, 0, 1, 1),
            new Hello(TcpEndpoint.CARRIER, new GroupId(78, 0), 1, 0, 0, 2))) {
      long before = first.refusedConnections();
      try (Socket socket = connect()) {
        byte[] bytes = hello(hello, greeting(socket));
        pretended.write(ByteBuffer.wrap(bytes).position(Hello.MAGIC_BYTES));
        socket.getOutputStream().write(bytes);
        requireClosed(socket);
      }
      assertThat(first.refusedConnections()).isEqualTo(before + 1);
    }
  }

  /** What a rank of an earlier attempt sends reaches nobody of the present one. */
  @Test
  void framesOfAnotherGenerationOrGroupReachNobody() throws Exception {
    for (GroupId group : List.of(new GroupId(0, 1), new GroupId(1, 0))) {
      try (Socket socket = connected(new Hello(TcpEndpoint.CARRIER, group, 1, 0))) {
        socket.getOutputStream().write(frame(CALL, 24));
        assertThat(one.receive(1, null, Deadline.after(Duration.ofMillis(20)))).isNull();
      }
    }
  }

  private static byte[] frame(Call call, int payloadBytes) {
    ByteBuffer payload = ByteBuffer.allocate(payloadBytes);
    Frame frame = new Frame(Frame.DATA, payloadBytes, 0, 0, call);
    return ByteBuffer.allocate(Frame.HEADER_BYTES + payloadBytes)
        .put(frame.sealed(payload, new CRC32C()))
        .put(payload)
        .array();
  }

  /** What a rank receives of a peer that sends these bytes and ends. */
  private void receiveAll(GroupId group, byte[] bytes) throws Exception {
    try (Socket socket = connected(new Hello(TcpEndpoint.CARRIER, group, 1, 0));
        Transport fuzzed = transport(first, group, 0)) {
      socket.getOutputStream().write(bytes);
      socket.shutdownOutput();
      while (true) { // until it fails, which the end of the stream sees to
        Message message = fuzzed.receive(1, null, Deadline.after(LONG));
        assertThat(message).as("heard before the deadline").isNotNull();
        message.close();
      }
    }
  }

  @Test
  void framesOfRandomBytesEndTheirConnectionOnly() throws Exception {
    Random random = new Random(4);
    for (int round = 0; round < 150; round++) {
      byte[] bytes = new byte[random.nextInt(2000)];
      random.nextBytes(bytes);
      GroupId group = new GroupId(1000 + round, 0);
      assertThatThrownBy(() -> receiveAll(group, bytes)).isInstanceOf(PeerLostException.class);
    }
  }

  @Test
  void framesWithAnyByteChangedEndTheirConnectionOnly() throws Exception {
    Random random = new Random(5);
    byte[] right = frame(CALL, 24);
    for (int round = 0; round < 150; round++) {
      byte[] bytes = right.clone();
      int place = round % bytes.length;
      bytes[place] ^= (byte) (1 + random.nextInt(255));
      GroupId group = new GroupId(2000 + round, 0);
      assertThatThrownBy(() -> receiveAll(group, bytes))
          .as("byte %d changed", place)
          .isInstanceOf(PeerLostException.class);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {Integer.MAX_VALUE, Integer.MIN_VALUE, -1, Frame.MAXIMUM_PAYLOAD_BYTES + 1})
  void noMemoryIsTakenForAFrameLongerThanAnyoneSends(int length) throws Exception {
    byte[] bytes = frame(CALL, 24);
    ByteBuffer.wrap(bytes).putInt(4, length);
    assertThatThrownBy(() -> receiveAll(new GroupId(3000 + length, 0), bytes))
        .isInstanceOf(PeerLostException.class)
        .hasMessageContaining("a frame of " + length + " bytes");
  }

  @Test
  void whoKeepsSilentIsCutOff() {
    Refusals refusals = new Refusals();
    EmbeddedChannel channel =
        new EmbeddedChannel(new ListenerHandshake(token, new Meetings<>(1), refusals));
    channel.freezeTime();
    channel.writeInbound(Unpooled.wrappedBuffer(new byte[Hello.MAGIC_BYTES - 1]));
    channel.advanceTimeBy(ListeningSide.PATIENCE.toMillis() - 1000, TimeUnit.MILLISECONDS);
    channel.runScheduledPendingTasks();
    assertThat(channel.isOpen()).isTrue();
    channel.advanceTimeBy(2000, TimeUnit.MILLISECONDS);
    channel.runScheduledPendingTasks();
    assertThat(channel.isOpen()).isFalse();
    assertThat(refusals.count()).isEqualTo(1);
    channel.finishAndReleaseAll();
  }
}
