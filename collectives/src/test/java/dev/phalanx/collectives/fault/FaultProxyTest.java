package dev.phalanx.collectives.fault;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
final class FaultProxyTest {
  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final int QUIET_MILLIS = 150;
  private static final int LONG = 3_000_000; // bytes, many chunks

  /** A proxy and a connection through it. */
  private static final class Line implements AutoCloseable {
    private final ServerSocket target = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
    final FaultProxy proxy;
    final Socket near;
    final Socket far;

    Line() throws IOException {
      this(0, 0);
    }

    Line(long handshakeToTarget, long handshakeFromTarget) throws IOException {
      target.setSoTimeout((int) PATIENCE.toMillis());
      proxy =
          new FaultProxy(
              (InetSocketAddress) target.getLocalSocketAddress(),
              handshakeToTarget,
              handshakeFromTarget);
      near = connect();
      far = accept();
    }

    Socket connect() throws IOException {
      return patient(new Socket(proxy.address().getAddress(), proxy.address().getPort()));
    }

    Socket accept() throws IOException {
      return patient(target.accept());
    }

    private static Socket patient(Socket socket) throws IOException {
      socket.setSoTimeout((int) PATIENCE.toMillis());
      socket.setTcpNoDelay(true);
      return socket;
    }

    @Override
    public void close() throws Exception {
      proxy.close();
      near.close();
      far.close();
      target.close();
    }
  }

  private static byte[] bytes(int count) {
    byte[] bytes = new byte[count];
    new Random(count).nextBytes(bytes);
    return bytes;
  }

  private static <T> Future<T> start(Callable<T> body) {
    FutureTask<T> task = new FutureTask<>(body);
    Thread thread = new Thread(task, "fault-proxy-test");
    thread.setDaemon(true);
    thread.start();
    return task;
  }

  private static Future<Boolean> startSending(Socket socket, byte[] bytes) {
    return start(
        () -> {
          socket.getOutputStream().write(bytes);
          socket.shutdownOutput();
          return true;
        });
  }

  /** Sends to the target, ends the stream, and gives what came there until its end. */
  private static byte[] throughToTarget(Line line, byte[] sent) throws Exception {
    Future<Boolean> sending = startSending(line.near, sent);
    byte[] received = line.far.getInputStream().readAllBytes();
    assertThat(sending.get(PATIENCE.toSeconds(), SECONDS)).isTrue();
    return received;
  }

  private static void assertQuiet(Socket socket) throws IOException {
    socket.setSoTimeout(QUIET_MILLIS);
    assertThatThrownBy(() -> socket.getInputStream().read())
        .isInstanceOf(SocketTimeoutException.class);
    socket.setSoTimeout((int) PATIENCE.toMillis());
  }

  private static void assertReset(Socket socket) {
    assertThatThrownBy(() -> socket.getInputStream().readAllBytes())
        .isInstanceOf(SocketException.class)
        .hasMessageContaining("reset");
  }

  @Test
  void bytesAndEndsPassBothWaysAsTheyAre() throws Exception {
    try (Line line = new Line()) {
      byte[] there = bytes(LONG);
      byte[] back = bytes(LONG + 1);
      Future<Boolean> sendingThere = startSending(line.near, there);
      Future<Boolean> sendingBack = startSending(line.far, back);
      Future<byte[]> arriving = start(() -> line.far.getInputStream().readAllBytes());
      assertThat(line.near.getInputStream().readAllBytes()).isEqualTo(back);
      assertThat(arriving.get(PATIENCE.toSeconds(), SECONDS)).isEqualTo(there);
      assertThat(sendingThere.get(PATIENCE.toSeconds(), SECONDS)).isTrue();
      assertThat(sendingBack.get(PATIENCE.toSeconds(), SECONDS)).isTrue();
      line.proxy.toTarget().awaitDelivered(LONG, PATIENCE);
      assertThat(line.proxy.fromTarget().deliveredBytes()).isEqualTo(LONG + 1);
    }
  }

  @Test
  void anEndPassesWhileTheOtherDirectionGoesOn() throws Exception {
    try (Line line = new Line()) {
      line.near.shutdownOutput();
      assertThat(line.far.getInputStream().read()).isEqualTo(-1);
      assertThat(startSending(line.far, bytes(LONG))).isNotNull();
      assertThat(line.near.getInputStream().readAllBytes()).isEqualTo(bytes(LONG));
    }
  }

  @Test
  void delayedBytesComeNoEarlierAndTheOtherDirectionIsNotDelayed() throws Exception {
    try (Line line = new Line()) {
      Duration delay = Duration.ofMillis(300);
      line.proxy.toTarget().delay(delay);
      line.proxy.fromTarget().delay(Duration.ZERO);
      long start = System.nanoTime();
      line.near.getOutputStream().write(7);
      line.far.getOutputStream().write(8);
      assertThat(line.near.getInputStream().read()).isEqualTo(8);
      assertThat(line.proxy.toTarget().deliveredBytes()).isZero();
      assertThat(line.far.getInputStream().read()).isEqualTo(7);
      assertThat(System.nanoTime() - start).isGreaterThanOrEqualTo(delay.toNanos());
    }
  }

  /** 46 chunks at least, which one after the other would take 23 s. */
  @Test
  void aDelayDoesNotAddUp() throws Exception {
    try (Line line = new Line()) {
      line.proxy.toTarget().delay(Duration.ofMillis(500));
      long start = System.nanoTime();
      assertThat(throughToTarget(line, bytes(LONG))).isEqualTo(bytes(LONG));
      assertThat(System.nanoTime() - start).isBetween(SECONDS.toNanos(1) / 2, SECONDS.toNanos(15));
    }
  }

  @Test
  void bytesComeNoFasterThanTheRate() throws Exception {
    try (Line line = new Line()) {
      line.proxy.toTarget().limitRate(100_000);
      long start = System.nanoTime();
      assertThat(throughToTarget(line, bytes(40_000))).isEqualTo(bytes(40_000));
      // the first portion of a hundredth of a second leaves at once
      assertThat(System.nanoTime() - start).isGreaterThanOrEqualTo(SECONDS.toNanos(39) / 100);
    }
  }

  @Test
  void aCutResetsBothEndsAndLetsNewConnectionsIn() throws Exception {
    try (Line line = new Line()) {
      line.near.getOutputStream().write(1);
      assertThat(line.far.getInputStream().read()).isEqualTo(1);
      line.proxy.cut();
      assertReset(line.near);
      assertReset(line.far);
      try (Socket near = line.connect();
          Socket far = line.accept()) {
        near.getOutputStream().write(2);
        assertThat(far.getInputStream().read()).isEqualTo(2);
      }
    }
  }

  @Test
  void aCutResetsBothEndsWhereNothingPassesToo() throws Exception {
    try (Line line = new Line()) {
      line.near.getOutputStream().write(1);
      assertThat(line.far.getInputStream().read()).isEqualTo(1);
      line.proxy.stop();
      line.near.getOutputStream().write(2);
      line.proxy.cut();
      assertReset(line.near);
      assertReset(line.far);
    }
  }

  @Test
  void whatACutConnectionStillHeldMeetsNoFault() throws Exception {
    try (Line line = new Line()) {
      Direction direction = line.proxy.toTarget();
      direction.limitRate(1);
      line.near.getOutputStream().write(new byte[3]);
      direction.awaitDelivered(1, PATIENCE); // two bytes wait for their turn
      line.proxy.cut();
      direction.flipBitAt(1, 0);
      try (Socket near = line.connect();
          Socket far = line.accept()) {
        near.getOutputStream().write(new byte[2]);
        assertThat(far.getInputStream().readNBytes(2)).isEqualTo(new byte[] {0, 1});
      }
    }
  }

  @Test
  void aResetPassesAsOne() throws Exception {
    try (Line line = new Line()) {
      line.near.getOutputStream().write(1);
      assertThat(line.far.getInputStream().read()).isEqualTo(1);
      line.near.setSoLinger(true, 0);
      line.near.close();
      assertReset(line.far);
    }
  }

  @Test
  void aStoppedLineIsSilentUntilItIsHealedAndLosesNothing() throws Exception {
    try (Line line = new Line()) {
      line.near.getOutputStream().write(1);
      assertThat(line.far.getInputStream().read()).isEqualTo(1);
      line.proxy.stop();
      Future<Boolean> sending = startSending(line.near, bytes(LONG));
      line.far.getOutputStream().write(2);
      assertQuiet(line.far);
      assertQuiet(line.near);
      line.proxy.heal();
      assertThat(line.near.getInputStream().read()).isEqualTo(2);
      assertThat(line.far.getInputStream().readAllBytes()).isEqualTo(bytes(LONG));
      assertThat(sending.get(PATIENCE.toSeconds(), SECONDS)).isTrue();
    }
  }

  @Test
  void nobodyLearnsOverAStoppedLineThatItsPeerIsGone() throws Exception {
    try (Line line = new Line()) {
      line.proxy.stop();
      line.near.close();
      assertQuiet(line.far);
      line.far.getOutputStream().write(3); // nor is it told that nobody reads
      line.proxy.heal();
      assertThat(line.far.getInputStream().read()).isEqualTo(-1);
    }
  }

  @Test
  void aStreamStopsAtAnOffset() throws Exception {
    try (Line line = new Line()) {
      byte[] sent = bytes(LONG);
      line.proxy.toTarget().stopAt(100_001);
      Future<Boolean> sending = startSending(line.near, sent);
      assertThat(line.far.getInputStream().readNBytes(100_001))
          .isEqualTo(Arrays.copyOf(sent, 100_001));
      line.proxy.toTarget().awaitFaults(PATIENCE);
      assertQuiet(line.far);
      line.proxy.heal();
      assertThat(line.far.getInputStream().readAllBytes())
          .isEqualTo(Arrays.copyOfRange(sent, 100_001, LONG));
      assertThat(sending.get(PATIENCE.toSeconds(), SECONDS)).isTrue();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 65_535, 65_536, LONG - 1})
  void oneBitIsFlippedAndNoOther(int offset) throws Exception {
    try (Line line = new Line()) {
      line.proxy.toTarget().flipBitAt(offset, offset % 8);
      byte[] expected = bytes(LONG);
      expected[offset] ^= (byte) (1 << (offset % 8));
      assertThat(throughToTarget(line, bytes(LONG))).isEqualTo(expected);
      line.proxy.toTarget().awaitFaults(PATIENCE);
    }
  }

  @Test
  void offsetsCountFromTheEndOfEachDirectionsHandshakeToo() throws Exception {
    try (Line line = new Line(88, 72)) {
      line.proxy.toTarget().flipBitAt(line.proxy.toTarget().afterHandshake(0), 0);
      line.proxy.fromTarget().flipBitAt(line.proxy.fromTarget().afterHandshake(5), 7);
      byte[] there = new byte[200];
      there[88] = 1;
      assertThat(throughToTarget(line, new byte[200])).isEqualTo(there);
      byte[] back = new byte[200];
      back[77] = (byte) 0x80;
      assertThat(startSending(line.far, new byte[200])).isNotNull();
      assertThat(line.near.getInputStream().readAllBytes()).isEqualTo(back);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 1000, 200_000})
  void droppedBytesAreMissingAndTheRestFollows(int count) throws Exception {
    try (Line line = new Line()) {
      int offset = 65_000;
      line.proxy.toTarget().dropAt(offset, count);
      byte[] sent = bytes(LONG);
      byte[] expected = Arrays.copyOf(sent, LONG - count);
      System.arraycopy(sent, offset + count, expected, offset, LONG - count - offset);
      assertThat(throughToTarget(line, sent)).isEqualTo(expected);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 100_001})
  void aTruncatedStreamEndsInOrderAndItsSenderNoticesNothing(int length) throws Exception {
    try (Line line = new Line()) {
      line.proxy.toTarget().truncateAt(length);
      byte[] sent = bytes(LONG);
      assertThat(throughToTarget(line, sent)).isEqualTo(Arrays.copyOf(sent, length));
      line.far.getOutputStream().write(4);
      assertThat(line.near.getInputStream().read()).isEqualTo(4);
    }
  }

  @Test
  void aCutAtAnOffsetLetsNothingPassBehindIt() throws Exception {
    try (Line line = new Line()) {
      line.proxy.toTarget().cutAt(10);
      line.near.getOutputStream().write(bytes(10));
      assertThat(line.far.getInputStream().readNBytes(10)).isEqualTo(bytes(10));
      line.near.getOutputStream().write(11);
      assertReset(line.far);
      assertReset(line.near);
      line.proxy.toTarget().awaitFaults(PATIENCE);
      assertThat(line.proxy.toTarget().deliveredBytes()).isEqualTo(10);
    }
  }

  @Test
  void severalFaultsHappenInTheOrderOfTheirOffsets() throws Exception {
    try (Line line = new Line()) {
      Direction direction = line.proxy.toTarget();
      direction.truncateAt(60);
      direction.dropAt(20, 10);
      direction.flipBitAt(4, 0);
      direction.flipBitAt(4, 1);
      byte[] expected = new byte[50];
      expected[4] = 3;
      assertThat(throughToTarget(line, new byte[100])).isEqualTo(expected);
    }
  }

  @Test
  void aFaultHappensOnceToTheFirstConnectionThatComesToIt() throws Exception {
    try (Line line = new Line()) {
      line.near.getOutputStream().write(new byte[5]);
      assertThat(line.far.getInputStream().readNBytes(5)).isEqualTo(new byte[5]);
      line.proxy.toTarget().flipBitAt(3, 0); // behind the first connection already
      line.near.getOutputStream().write(new byte[5]);
      assertThat(line.far.getInputStream().readNBytes(5)).isEqualTo(new byte[5]);
      for (int flipped = 1; flipped >= 0; flipped--) {
        try (Socket near = line.connect();
            Socket far = line.accept()) {
          near.getOutputStream().write(new byte[5]);
          assertThat(far.getInputStream().readNBytes(5))
              .isEqualTo(new byte[] {0, 0, 0, (byte) flipped, 0});
        }
      }
    }
  }

  @Test
  void faultsComeAndGoWhileBytesAreOnTheirWay() throws Exception {
    try (Line line = new Line()) {
      Direction direction = line.proxy.toTarget();
      Future<byte[]> arriving = start(() -> line.far.getInputStream().readAllBytes());
      Future<Boolean> sending = startSending(line.near, bytes(10 * LONG));
      for (int round = 1; round < 30; round++) {
        direction.stop();
        direction.delay(Duration.ofMillis(1));
        direction.limitRate(1_000_000_000);
        direction.heal();
        direction.awaitDelivered(100_000L * round, PATIENCE);
      }
      assertThat(arriving.get(PATIENCE.toSeconds(), SECONDS)).isEqualTo(bytes(10 * LONG));
      assertThat(sending.get(PATIENCE.toSeconds(), SECONDS)).isTrue();
    }
  }

  @Test
  void aTargetThatRefusesIsSeenAsAReset() throws Exception {
    InetSocketAddress nobody;
    try (ServerSocket gone = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      nobody = (InetSocketAddress) gone.getLocalSocketAddress();
    }
    try (FaultProxy proxy = new FaultProxy(nobody);
        Socket near = new Socket(proxy.address().getAddress(), proxy.address().getPort())) {
      near.setSoTimeout((int) PATIENCE.toMillis());
      assertReset(near);
    }
  }

  @Test
  void closingEndsConnectionsThreadsAndTheListener() throws Exception {
    try (Line line = new Line()) {
      line.proxy.toTarget().limitRate(1);
      startSending(line.near, bytes(10 * LONG)); // more than all buffers: its threads are waiting
      line.proxy.toTarget().awaitDelivered(1, PATIENCE);
      String threadName = FaultProxy.threadName(line.proxy.address());
      assertThat(threadNames()).contains(threadName);
      line.proxy.close();
      assertThat(line.far.getInputStream().readAllBytes().length).isLessThan(10);
      assertThat(threadNames()).doesNotContain(threadName);
      assertThatThrownBy(line::connect).isInstanceOf(IOException.class);
    }
  }

  private static List<String> threadNames() {
    return Thread.getAllStackTraces().keySet().stream().map(Thread::getName).toList();
  }
}
