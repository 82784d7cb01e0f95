package dev.phalanx.collectives.rendezvous;

import static java.util.concurrent.TimeUnit.SECONDS;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.ByteString;
import dev.phalanx.collectives.rendezvous.wire.FromRank;
import dev.phalanx.collectives.rendezvous.wire.FromServer;
import dev.phalanx.collectives.rendezvous.wire.Heartbeat;
import dev.phalanx.collectives.rendezvous.wire.Hello;
import dev.phalanx.collectives.rendezvous.wire.Join;
import dev.phalanx.collectives.rendezvous.wire.Member;
import dev.phalanx.collectives.rendezvous.wire.RendezvousGrpc;
import dev.phalanx.collectives.rendezvous.wire.StatusQuery;
import dev.phalanx.collectives.rendezvous.wire.StatusReply;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.Encryption;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.status.RankStatus;
import dev.phalanx.collectives.status.StatusBoard;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.SortedMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Three ranks at a real rendezvous, one of which does what the test says. */
@Timeout(60)
final class StatusBoardTest {
  private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();
  private static final Duration LONG = Duration.ofSeconds(20);

  private final JobToken token = JobToken.random();
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final RendezvousServer server = start();
  private final ManagedChannel channel =
      NettyChannelBuilder.forAddress(new InetSocketAddress(LOOPBACK, server.port()))
          .usePlaintext()
          .directExecutor()
          .build();

  private RendezvousServer start() {
    try {
      return RendezvousServer.start(
          new InetSocketAddress(LOOPBACK, 0), 3, Credentials.of(token, Encryption.NONE), LONG);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @AfterEach
  void stop() {
    channel.shutdownNow();
    server.close();
    threads.shutdownNow();
  }

  private Future<Members> join(int rank) {
    Membership self = new Membership(rank, 3, "plan", new InetSocketAddress(LOOPBACK, 1000 + rank));
    return threads.submit(
        () ->
            RendezvousClient.join(
                new InetSocketAddress(LOOPBACK, server.port()),
                self,
                Credentials.of(token, Encryption.NONE),
                LONG));
  }

  /** Rank 2, which joins as all do and then answers no question. */
  private final class MuteRank implements StreamObserver<FromServer> {
    private static final String CHALLENGE = "0123456789abcdef0123456789abcdef";

    final AtomicInteger questions = new AtomicInteger();
    private final CompletableFuture<StreamObserver<FromRank>> stream = new CompletableFuture<>();

    void join() {
      StreamObserver<FromRank> toServer = RendezvousGrpc.newStub(channel).join(this);
      stream.complete(toServer);
      toServer.onNext(
          FromRank.newBuilder()
              .setHello(
                  Hello.newBuilder()
                      .setProtocol(RendezvousServer.PROTOCOL)
                      .setChallenge(ByteString.copyFromUtf8(CHALLENGE)))
              .build());
    }

    @Override
    public void onNext(FromServer message) {
      if (message.hasChallenge()) {
        byte[] theirs = message.getChallenge().getChallenge().toByteArray();
        String purpose = Challenges.rank(2, 3, CHALLENGE.getBytes(StandardCharsets.UTF_8));
        stream
            .join()
            .onNext(
                FromRank.newBuilder()
                    .setJoin(
                        Join.newBuilder()
                            .setProof(ByteString.copyFrom(token.prove(theirs, purpose)))
                            .setRank(2)
                            .setWorldSize(3)
                            .setFingerprint("plan")
                            .setMember(Member.newBuilder().setHost("127.0.0.1").setPort(1002)))
                    .build());
      } else if (message.hasStatusRequest()) {
        questions.incrementAndGet();
      }
    }

    @Override
    public void onError(Throwable thrown) {}

    @Override
    public void onCompleted() {}
  }

  /** A rank of a group, which says where it is. */
  private record Answering(RankStatus status) implements StatusBoard.Member {
    @Override
    public void writeRecords() {}
  }

  private static Answering in(String group, int rank, int waitsFor) {
    return new Answering(
        new RankStatus(
            group,
            rank,
            Optional.of("barrier #0"),
            Optional.of("barrier #1"),
            Optional.of(waitsFor),
            5));
  }

  @Test
  void whoGivesNoAnswerIsMissingAndTheOthersAreNot() throws Exception {
    CompletableFuture<SortedMap<Integer, List<RankStatus>>> table = new CompletableFuture<>();
    server.onInquiry(table::complete);
    Future<Members> joiningFirst = join(0);
    Future<Members> joiningSecond = join(1);
    MuteRank mute = new MuteRank();
    mute.join();
    try (Members first = joiningFirst.get(30, SECONDS);
        Members second = joiningSecond.get(30, SECONDS)) {
      StatusBoard.Member ofFirst = in("g", 0, 2);
      StatusBoard.Member ofSecond = in("g", 1, 0);
      first.statusBoard().join(ofFirst);
      second.statusBoard().join(ofSecond);
      StatusBoard.Member inAnother = in("another", 0, 1);
      second.statusBoard().join(inAnother);
      StatusBoard.Answers answers = first.statusBoard().ask();
      assertThat(answers.statuses())
          .containsExactlyInAnyOrder(ofFirst.status(), ofSecond.status(), inAnother.status());
      assertThat(IntStream.range(0, 3).filter(answers.hasAnswered())).containsExactly(0, 1);
      assertThat(mute.questions).hasValue(1);
      assertThat(table.get(30, SECONDS).keySet()).containsExactly(0, 1);
      second.statusBoard().leave(ofSecond);
      StatusBoard.Answers later = second.statusBoard().ask();
      assertThat(later.statuses()).containsExactlyInAnyOrder(ofFirst.status(), inAnother.status());
      assertThat(later.hasAnswered().test(1)).isTrue(); // which is not in its first group any more
    }
  }

  @Test
  void whoAsksWhileAnInquiryIsUnderWayGetsTheSameAnswer() throws Exception {
    List<Future<Members>> joining = List.of(join(0), join(1), join(2));
    try (Members first = joining.get(0).get(30, SECONDS);
        Members second = joining.get(1).get(30, SECONDS);
        Members third = joining.get(2).get(30, SECONDS)) {
      StatusBoard.Member ofThird = in("g", 2, 0);
      third.statusBoard().join(ofThird);
      List<Future<StatusBoard.Answers>> answers =
          List.of(
              threads.submit(() -> first.statusBoard().ask()),
              threads.submit(() -> second.statusBoard().ask()),
              threads.submit(() -> second.statusBoard().ask()));
      for (Future<StatusBoard.Answers> answer : answers) {
        assertThat(answer.get(30, SECONDS).statuses()).containsExactly(ofThird.status());
      }
    }
  }

  /** Whatever comes before a proof is worth nothing, and the ranks of the job still meet. */
  @Test
  void messagesOutOfTurnAreRefusedAndHarmNobody() throws Exception {
    for (FromRank message :
        List.of(
            FromRank.getDefaultInstance(),
            FromRank.newBuilder().setJoin(Join.newBuilder().setRank(1).setWorldSize(3)).build(),
            FromRank.newBuilder().setHello(Hello.newBuilder().setProtocol(-1)).build())) {
      CompletableFuture<FromServer> answer = new CompletableFuture<>();
      StreamObserver<FromRank> toServer =
          RendezvousGrpc.newStub(channel).join(new FirstAnswer(answer));
      toServer.onNext(FromRank.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()).build());
      toServer.onNext(
          FromRank.newBuilder().setStatusQuery(StatusQuery.getDefaultInstance()).build());
      toServer.onNext(
          FromRank.newBuilder().setStatusReply(StatusReply.newBuilder().setNumber(1)).build());
      toServer.onNext(message);
      assertThat(answer.get(30, SECONDS).hasRefusal()).isTrue();
    }
    requireThatRanksMeet();
  }

  /** What is longer than any rank's greeting is turned away before it is parsed. */
  @Test
  void aStrangersLongMessageIsNotRead() throws Exception {
    CompletableFuture<FromServer> answer = new CompletableFuture<>();
    RendezvousGrpc.newStub(channel)
        .join(new FirstAnswer(answer))
        .onNext(
            FromRank.newBuilder()
                .setJoin(Join.newBuilder().setFingerprint("x".repeat(20_000)))
                .build());
    assertThat(answer.get(30, SECONDS).getRefusal().getReason())
        .startsWith("it has sent more than 16384 bytes in one message, before it has proven");
    requireThatRanksMeet();
    assertThat(server.refusedConnections()).isEqualTo(1);
  }

  private record FirstAnswer(CompletableFuture<FromServer> answer)
      implements StreamObserver<FromServer> {
    @Override
    public void onNext(FromServer message) {
      answer.complete(message);
    }

    @Override
    public void onError(Throwable thrown) {
      answer.completeExceptionally(thrown);
    }

    @Override
    public void onCompleted() {
      answer.completeExceptionally(new IllegalStateException("it ended without an answer"));
    }
  }

  private void requireThatRanksMeet() throws Exception {
    List<Future<Members>> joining = List.of(join(0), join(1), join(2));
    for (Future<Members> one : joining) {
      try (Members members = one.get(30, SECONDS)) {
        assertThat(members.ranks()).hasSize(3);
      }
    }
  }

  @Test
  void foreignClientsAreCutOffAndHarmNobody() throws Exception {
    Random random = new Random(9);
    for (int round = 0; round < 20; round++) {
      byte[] bytes = new byte[100 + random.nextInt(2000)];
      random.nextBytes(bytes);
      requireCutOff(bytes);
    }
    requireCutOff("GET / HTTP/1.1\r\nHost: x\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
    byte[] tls = new byte[517];
    System.arraycopy(new byte[] {0x16, 3, 1, 2, 0, 1, 0, 1, (byte) 0xfc, 3, 3}, 0, tls, 0, 11);
    requireCutOff(tls);
    requireThatRanksMeet();
  }

  private void requireCutOff(byte[] bytes) throws IOException {
    try (Socket socket = new Socket(LOOPBACK, server.port())) {
      socket.setSoTimeout((int) LONG.toMillis());
      socket.getOutputStream().write(bytes);
      InputStream in = socket.getInputStream();
      in.readAllBytes();
    } catch (SocketException e) {
      // A reset is an end too.
    }
  }
}
