package dev.phalanx.collectives.rendezvous;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.phalanx.collectives.ConnectedGroups;
import dev.phalanx.collectives.TransportKind;
import dev.phalanx.collectives.fault.FaultProxy;
import dev.phalanx.collectives.rendezvous.wire.FromRank;
import dev.phalanx.collectives.rendezvous.wire.FromServer;
import dev.phalanx.collectives.rendezvous.wire.Member;
import dev.phalanx.collectives.rendezvous.wire.RendezvousGrpc;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
final class RendezvousTest {
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final Duration SHORT = Duration.ofMillis(300);
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();

  private final JobToken token = JobToken.random();
  private final ExecutorService threads = Executors.newCachedThreadPool();

  @AfterEach
  void stopThreads() {
    threads.shutdownNow();
  }

  private RendezvousServer server(int worldSize, Duration timeout) throws Exception {
    return server(worldSize, timeout, Encryption.NONE);
  }

  private RendezvousServer server(int worldSize, Duration timeout, Encryption encryption)
      throws Exception {
    return RendezvousServer.start(
        new InetSocketAddress(LOOPBACK, 0), worldSize, Credentials.of(token, encryption), timeout);
  }

  private static Membership rank(int rank, int worldSize) {
    return new Membership(rank, worldSize, "plan", new InetSocketAddress(LOOPBACK, 1000 + rank));
  }

  private Future<Members> join(int port, Membership self, JobToken proof, Duration timeout) {
    return join(port, self, Credentials.of(proof, Encryption.NONE), timeout);
  }

  private Future<Members> join(
      int port, Membership self, Credentials credentials, Duration timeout) {
    return threads.submit(
        () ->
            RendezvousClient.join(
                new InetSocketAddress(LOOPBACK, port), self, credentials, timeout));
  }

  private static Throwable failure(Future<Members> joining) throws Exception {
    try {
      joining.get(30, SECONDS).close();
    } catch (ExecutionException e) {
      return Objects.requireNonNull(e.getCause());
    }
    throw new AssertionError("the rank was let in");
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5})
  void everyRankLearnsWhereAllOthersAre(int worldSize) throws Exception {
    try (RendezvousServer server = server(worldSize, LONG)) {
      List<Future<Members>> joining = new ArrayList<>();
      for (int rank = worldSize - 1; rank >= 0; rank--) {
        joining.add(join(server.port(), rank(rank, worldSize), token, LONG));
      }
      for (Future<Members> one : joining) {
        try (Members members = one.get(30, SECONDS)) {
          assertThat(members.ranks()).hasSize(worldSize);
          for (int rank = 0; rank < worldSize; rank++) {
            assertThat(members.ranks().get(rank).rank()).isEqualTo(rank);
            assertThat(members.ranks().get(rank).address().getPort()).isEqualTo(1000 + rank);
            assertThat(members.ranks().get(rank).pid()).isEqualTo(ProcessHandle.current().pid());
          }
        }
      }
    }
  }

  /** Whoever holds the port before the launcher does must not name the ranks' addresses. */
  @Test
  void aServerThatHasProvenNothingIsNotBelieved() throws Exception {
    dev.phalanx.collectives.rendezvous.wire.Members members =
        dev.phalanx.collectives.rendezvous.wire.Members.newBuilder()
            .addMembers(Member.newBuilder().setHost("127.0.0.1").setPort(1000))
            .build();
    Server stranger =
        NettyServerBuilder.forAddress(new InetSocketAddress(LOOPBACK, 0))
            .addService(
                new RendezvousGrpc.RendezvousImplBase() {
                  @Override
                  public StreamObserver<FromRank> join(StreamObserver<FromServer> toRank) {
                    toRank.onNext(FromServer.newBuilder().setMembers(members).build());
                    return new Ignoring();
                  }
                })
            .build()
            .start();
    try {
      assertThat(failure(join(stranger.getPort(), rank(0, 1), token, LONG)))
          .isInstanceOf(RendezvousRefusedException.class)
          .hasMessageContaining("has not proven that it holds this job's token");
    } finally {
      stranger.shutdownNow();
    }
  }

  private static final class Ignoring implements StreamObserver<FromRank> {
    @Override
    public void onNext(FromRank message) {}

    @Override
    public void onError(Throwable thrown) {}

    @Override
    public void onCompleted() {}
  }

  @Test
  void aRankMayComeBeforeTheServer() throws Exception {
    int port;
    try (ServerSocket free = new ServerSocket(0, 1, LOOPBACK)) {
      port = free.getLocalPort();
    }
    Future<Members> early = join(port, rank(0, 2), token, LONG);
    try (RendezvousServer server =
        RendezvousServer.start(
            new InetSocketAddress(LOOPBACK, port),
            2,
            Credentials.of(token, Encryption.NONE),
            LONG)) {
      Future<Members> second = join(server.port(), rank(1, 2), token, LONG);
      early.get(30, SECONDS).close();
      second.get(30, SECONDS).close();
    }
  }

  @Test
  void aRankWithoutTheTokenIsRefusedAndNotCounted() throws Exception {
    try (RendezvousServer server = server(1, LONG)) {
      Throwable refused = failure(join(server.port(), rank(0, 1), JobToken.random(), LONG));
      assertThat(refused)
          .isInstanceOf(RendezvousRefusedException.class)
          .hasMessageContaining("token")
          .hasMessageNotContaining(token.hex());
      long end = System.nanoTime() + LONG.toNanos();
      while (server.refusedConnections() == 0 && System.nanoTime() < end) {
        Thread.onSpinWait(); // it leaves by itself, of which the server hears in its time
      }
      assertThat(server.refusedConnections()).isEqualTo(1);
      join(server.port(), rank(0, 1), token, LONG).get(30, SECONDS).close();
      assertThat(server.refusedConnections()).isEqualTo(1);
    }
  }

  @Test
  void aRankOfAnotherAttemptIsRefused() throws Exception {
    Credentials second = Credentials.of(token.ofAttempt(1), Encryption.NONE);
    try (RendezvousServer server =
        RendezvousServer.start(new InetSocketAddress(LOOPBACK, 0), 2, second, LONG)) {
      for (JobToken late : List.of(token, token.ofAttempt(2))) {
        assertThat(failure(join(server.port(), rank(1, 2), late, LONG)))
            .isInstanceOf(RendezvousRefusedException.class)
            .hasMessageContaining("of another attempt");
      }
      Future<Members> first = join(server.port(), rank(0, 2), second, LONG);
      join(server.port(), rank(1, 2), second, LONG).get(30, SECONDS).close();
      first.get(30, SECONDS).close();
    }
  }

  @Test
  void nobodyListensOnEveryAddress() throws Exception {
    InetAddress every = InetAddress.getByName("0.0.0.0");
    Credentials credentials = Credentials.of(token, Encryption.NONE);
    assertThatThrownBy(
            () -> RendezvousServer.start(new InetSocketAddress(every, 0), 2, credentials, LONG))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("0.0.0.0");
    assertThatThrownBy(
            () ->
                new ConnectedGroups.Joining(
                    0,
                    2,
                    "plan",
                    new InetSocketAddress(LOOPBACK, 1),
                    every,
                    credentials,
                    TransportKind.AUTO))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("0.0.0.0");
  }

  @Test
  void ranksWithTheTokenMeetOverTls() throws Exception {
    try (RendezvousServer server = server(3, LONG, Encryption.TLS)) {
      List<Future<Members>> joining = new ArrayList<>();
      for (int rank = 0; rank < 3; rank++) {
        Credentials own = Credentials.of(token, Encryption.TLS);
        joining.add(join(server.port(), rank(rank, 3), own, LONG));
      }
      for (Future<Members> one : joining) {
        try (Members members = one.get(30, SECONDS)) {
          assertThat(members.ranks()).hasSize(3);
        }
      }
    }
  }

  /** It waits for no deadline: an authority that is not the job's will not become it. */
  @Test
  void anotherJobsCertificateIsRefusedAtOnce() throws Exception {
    try (RendezvousServer server = server(1, LONG, Encryption.TLS)) {
      Credentials strange = Credentials.of(JobToken.random(), Encryption.TLS);
      assertThat(failure(join(server.port(), rank(0, 1), strange, Duration.ofHours(1))))
          .isInstanceOf(RendezvousRefusedException.class)
          .hasMessageContaining("rank 0/1: no encrypted connection to the rendezvous at")
          .hasMessageContaining("of another job")
          .hasMessageNotContaining(token.hex());
      Credentials own = Credentials.of(token, Encryption.TLS);
      join(server.port(), rank(0, 1), own, LONG).get(30, SECONDS).close();
    }
  }

  @Test
  void aRankWithTlsIsRefusedAtOnceWhereTheServerHasNone() throws Exception {
    try (RendezvousServer server = server(1, LONG)) {
      Credentials own = Credentials.of(token, Encryption.TLS);
      assertThat(failure(join(server.port(), rank(0, 1), own, Duration.ofHours(1))))
          .isInstanceOf(RendezvousRefusedException.class)
          .hasMessageContaining("--tls is not the same on all ranks");
      join(server.port(), rank(0, 1), token, LONG).get(30, SECONDS).close();
    }
  }

  @Test
  void aRankWithoutTlsIsNotLetInWhereTheServerHasIt() throws Exception {
    try (RendezvousServer server = server(1, LONG, Encryption.TLS)) {
      assertThat(failure(join(server.port(), rank(0, 1), token, SHORT)))
          .isInstanceOf(RendezvousTimeoutException.class)
          .hasMessageContaining("--tls is the same on all ranks");
    }
  }

  @Test
  void aSecondRankOfTheSameNumberIsRefused() throws Exception {
    try (RendezvousServer server = server(2, LONG)) {
      Future<Members> one = join(server.port(), rank(1, 2), token, LONG);
      Future<Members> other = join(server.port(), rank(1, 2), token, LONG);
      CompletableFuture<Throwable> refused = new CompletableFuture<>();
      for (Future<Members> joining : List.of(one, other)) {
        threads.submit(() -> refused.complete(failure(joining)));
      }
      assertThat(refused.get(30, SECONDS))
          .isInstanceOf(RendezvousRefusedException.class)
          .hasMessageContaining("come already");
      join(server.port(), rank(0, 2), token, LONG).get(30, SECONDS).close();
    }
  }

  @Test
  void aRankOfAnotherWorldIsRefused() throws Exception {
    try (RendezvousServer server = server(2, LONG)) {
      assertThat(failure(join(server.port(), rank(0, 3), token, LONG)))
          .isInstanceOf(RendezvousRefusedException.class)
          .hasMessageContaining("job of 3 ranks and this one has 2");
      assertThat(failure(join(server.port(), rank(2, 2), token, LONG)))
          .isInstanceOf(RendezvousRefusedException.class)
          .hasMessageContaining("no rank 2");
    }
  }

  @Test
  void aRankBelowZeroIsRefusedBeforeAnythingIsSent() {
    assertThatThrownBy(() -> rank(-1, 2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("Rank -1 cannot join: ranks run from 0 to 1");
  }

  @Test
  void aRankWithAnotherPlanIsRefused() throws Exception {
    try (RendezvousServer server = server(2, LONG)) {
      Membership other =
          new Membership(1, 2, "another plan", new InetSocketAddress(LOOPBACK, 1001));
      List<Future<Members>> both =
          List.of(
              join(server.port(), rank(0, 2), token, LONG),
              join(server.port(), other, token, LONG));
      CompletableFuture<Throwable> refused = new CompletableFuture<>();
      both.forEach(joining -> threads.submit(() -> refused.complete(failure(joining))));
      assertThat(refused.get(30, SECONDS))
          .isInstanceOf(RendezvousRefusedException.class)
          .hasMessageContaining("plan or version differs");
    }
  }

  @Test
  void whenTheTimeIsOverTheMissingRanksAreNamed() throws Exception {
    CompletableFuture<List<Integer>> missing = new CompletableFuture<>();
    try (RendezvousServer server = server(3, SHORT)) {
      server.onAbsence(missing::complete);
      assertThat(failure(join(server.port(), rank(1, 3), token, LONG)))
          .isInstanceOf(RendezvousTimeoutException.class)
          .hasMessageContaining("rank 0, 2 of 3 has not joined within 300 ms");
      assertThat(missing).isCompletedWithValue(List.of(0, 2));
    }
  }

  @Test
  void whoWasTurnedAwayIsToldToThoseWhoWaitedForIt() throws Exception {
    try (RendezvousServer server = server(3, Duration.ofSeconds(2))) {
      Future<Members> waiting = join(server.port(), rank(1, 3), token, LONG);
      assertThat(failure(join(server.port(), rank(2, 4), token, LONG)))
          .isInstanceOf(RendezvousRefusedException.class);
      assertThat(failure(waiting))
          .isInstanceOf(RendezvousTimeoutException.class)
          .hasMessageContaining("rank 0, 2 of 3 has not joined within 2 s")
          .hasMessageContaining(
              "Rank 2 came and was turned away: it belongs to a job of 4 ranks and this one has 3");
    }
  }

  @Test
  void aPortThatIsTakenIsNamed() throws Exception {
    try (ServerSocket taken = new ServerSocket(0, 1, LOOPBACK)) {
      assertThatThrownBy(
              () ->
                  RendezvousServer.start(
                      new InetSocketAddress(LOOPBACK, taken.getLocalPort()),
                      1,
                      Credentials.of(token, Encryption.NONE),
                      LONG))
          .isInstanceOf(PortInUseException.class)
          .hasMessageContaining(String.valueOf(taken.getLocalPort()));
    }
  }

  @Test
  void theOthersHearOfALostRankButNotOfOneThatLeaves() throws Exception {
    try (RendezvousServer server = server(3, LONG)) {
      List<Future<Members>> joining = new ArrayList<>();
      for (int rank = 0; rank < 3; rank++) {
        joining.add(join(server.port(), rank(rank, 3), token, LONG));
      }
      Members first = joining.get(0).get(30, SECONDS);
      CompletableFuture<Members.LostRank> lost = new CompletableFuture<>();
      first.onLost(lost::complete);
      joining.get(1).get(30, SECONDS).close();
      joining.get(2).get(30, SECONDS).breakOff();
      assertThat(lost.get(30, SECONDS).rank()).isEqualTo(2);
      first.close();
    }
  }

  /** Whoever looks only when several are gone must not take a victim for the cause. */
  @Test
  void whoIsLostLaterIsToldTogetherWithTheFirst() throws Exception {
    try (RendezvousServer server = server(4, LONG)) {
      List<Future<Members>> joining = new ArrayList<>();
      for (int rank = 0; rank < 4; rank++) {
        joining.add(join(server.port(), rank(rank, 4), token, LONG));
      }
      Members first = joining.get(0).get(30, SECONDS);
      BlockingQueue<Members.LostRank> lost = new LinkedBlockingQueue<>();
      first.onLost(lost::add);
      List<String> reasons = new ArrayList<>();
      for (int rank : List.of(2, 1, 3)) {
        joining.get(rank).get(30, SECONDS).breakOff();
        Members.LostRank told = Objects.requireNonNull(lost.poll(30, SECONDS));
        assertThat(told.rank()).isEqualTo(rank);
        reasons.add(told.reason());
      }
      String gone = "is gone: its connection to the rendezvous has ended";
      String later = gone + ". The first to be lost was rank 2 of the job, which " + gone;
      assertThat(reasons).containsExactly(gone, later, later);
      first.close();
    }
  }

  /** Ranks give a sign of life each second: with less patience than that, all of them are lost. */
  @Test
  void aRankThatGivesNoSignOfLifeIsLost() throws Exception {
    try (RendezvousServer server =
        RendezvousServer.start(
            new InetSocketAddress(LOOPBACK, 0),
            2,
            Credentials.of(token, Encryption.NONE),
            LONG,
            Duration.ofMillis(300))) {
      Future<Members> joining = join(server.port(), rank(0, 2), token, LONG);
      Members second = join(server.port(), rank(1, 2), token, LONG).get(30, SECONDS);
      CompletableFuture<Members.LostRank> lost = new CompletableFuture<>();
      Members first = joining.get(30, SECONDS);
      first.onLost(lost::complete);
      second.onLost(lost::complete);
      assertThat(lost.get(30, SECONDS).reason()).contains("no sign of life for 300 ms");
      first.breakOff();
      second.breakOff();
    }
  }

  @Test
  void ranksThatGiveSignsOfLifeAreNotLost() throws Exception {
    try (RendezvousServer server =
        RendezvousServer.start(
            new InetSocketAddress(LOOPBACK, 0),
            2,
            Credentials.of(token, Encryption.NONE),
            LONG,
            Duration.ofMillis(2500))) {
      Future<Members> joining = join(server.port(), rank(0, 2), token, LONG);
      try (Members second = join(server.port(), rank(1, 2), token, LONG).get(30, SECONDS);
          Members first = joining.get(30, SECONDS)) {
        CompletableFuture<Members.LostRank> lost = new CompletableFuture<>();
        first.onLost(lost::complete);
        second.onLost(lost::complete);
        assertThatThrownBy(() -> lost.get(4, SECONDS)).isInstanceOf(TimeoutException.class);
      }
    }
  }

  @Test
  void aRankThatIsCutOffKnowsItAsSoonAsTheOthersDo() throws Exception {
    try (RendezvousServer server = server(2, LONG);
        FaultProxy network = new FaultProxy(new InetSocketAddress(LOOPBACK, server.port()))) {
      Future<Members> joining = join(server.port(), rank(0, 2), token, LONG);
      Members farther = join(network.address().getPort(), rank(1, 2), token, LONG).get(30, SECONDS);
      Members nearer = joining.get(30, SECONDS);
      CompletableFuture<Members.LostRank> knownToFarther = new CompletableFuture<>();
      farther.onLost(knownToFarther::complete);
      CompletableFuture<Members.LostRank> knownToNearer = new CompletableFuture<>();
      nearer.onLost(knownToNearer::complete);
      network.stop();
      assertThat(knownToFarther.get(10, SECONDS))
          .isEqualTo(
              new Members.LostRank(
                  0,
                  "may be gone: the rendezvous at "
                      + network.address()
                      + ", which tells who is, has given no sign of life for 6 s: this host may be"
                      + " cut off"));
      assertThat(knownToNearer.get(10, SECONDS).rank()).isEqualTo(1);
      farther.breakOff();
      nearer.close();
    }
  }

  @Test
  void bytesThatMakeNoSenseDoNotHurtTheServer() throws Exception {
    try (RendezvousServer server = server(1, LONG)) {
      try (Socket socket = new Socket(LOOPBACK, server.port())) {
        socket.getOutputStream().write("GET / HTTP/1.1\r\n\r\n".getBytes("US-ASCII"));
        socket.getOutputStream().write(new byte[10_000]);
      }
      join(server.port(), rank(0, 1), token, LONG).get(30, SECONDS).close();
      assertThat(server.refusedConnections()).isEqualTo(1);
    }
  }

  @Test
  void aRankWaitsNoLongerThanItsTimeOutForAServerThatIsNotThere() throws Exception {
    int port;
    try (ServerSocket free = new ServerSocket(0, 1, LOOPBACK)) {
      port = free.getLocalPort();
    }
    long start = System.nanoTime();
    assertThat(failure(join(port, rank(0, 1), token, SHORT)))
        .isInstanceOf(RendezvousTimeoutException.class)
        .hasMessageContaining("within 300 ms");
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(2));
  }

  @Test
  void aTokenShowsItsSecretOnlyWhenAsked() {
    assertThat(token.toString()).doesNotContain(token.hex());
    assertThat(JobToken.parse(token.hex()).hex()).isEqualTo(token.hex()).hasSize(64);
    assertThatThrownBy(() -> JobToken.parse("c0ffee")).hasMessageNotContaining("c0ffee");
    byte[] challenge = {1, 2, 3};
    byte[] proof = token.prove(challenge, "one purpose");
    assertThat(token.verify(challenge, "one purpose", proof)).isTrue();
    assertThat(token.verify(challenge, "another purpose", proof)).isFalse();
    assertThat(JobToken.random().verify(challenge, "one purpose", proof)).isFalse();
  }
}
