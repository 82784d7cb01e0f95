package dev.phalanx.collectives.rendezvous;

import com.google.protobuf.ByteString;
import dev.phalanx.collectives.rendezvous.wire.Challenge;
import dev.phalanx.collectives.rendezvous.wire.DeliveryQuery;
import dev.phalanx.collectives.rendezvous.wire.DeliveryReply;
import dev.phalanx.collectives.rendezvous.wire.FromRank;
import dev.phalanx.collectives.rendezvous.wire.FromServer;
import dev.phalanx.collectives.rendezvous.wire.Heartbeat;
import dev.phalanx.collectives.rendezvous.wire.Hello;
import dev.phalanx.collectives.rendezvous.wire.Join;
import dev.phalanx.collectives.rendezvous.wire.Leave;
import dev.phalanx.collectives.rendezvous.wire.Member;
import dev.phalanx.collectives.rendezvous.wire.Refusal;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.status.StatusBoard;
import dev.phalanx.collectives.transport.Deadline;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A rank's side of the rendezvous. */
public final class RendezvousClient {
  private static final Logger LOG = LoggerFactory.getLogger(RendezvousClient.class);
  private static final long SHUTDOWN_MILLIS = 1000;
  private static final long LEAVE_MILLIS = 1000;
  private static final long SERVER_GRACE_MILLIS = 5000;
  private static final long PROBE_MILLIS = 500;
  private static final long SERVER_OWN_GRACE_NANOS = TimeUnit.SECONDS.toNanos(10);

  /** So many signs of life without an answer mean that the server cannot be reached any more. */
  private static final int MOST_UNANSWERED = 6;

  /** What a server may say before it has proven that it holds the token. */
  private static final Set<FromServer.ContentCase> UNPROVEN =
      Set.of(FromServer.ContentCase.CHALLENGE, FromServer.ContentCase.REFUSAL);

  private final Membership self;
  private final JobToken token;
  private final InetSocketAddress server;
  private final EventLoopGroup eventLoop;
  private final ManagedChannel channel;
  private final byte[] challenge = Challenges.random();
  private final long startNanos = System.nanoTime();
  private long answeredNanos; // the event loop's
  private final CompletableFuture<List<RankAddress>> gathered = new CompletableFuture<>();
  private final CompletableFuture<@Nullable Void> ended = new CompletableFuture<>();
  private final AtomicBoolean isClosed = new AtomicBoolean();
  private final Losses losses = new Losses();
  private final RemoteStatusBoard statusBoard;
  private volatile @Nullable Deliveries deliveries;
  private final StreamObserver<FromRank> toServer;
  private boolean hasLeft; // guarded by toServer
  private int unanswered; // signs of life since the last word of the server; the event loop's
  private volatile boolean isServerProven;
  private volatile String obstacle = ""; // why there is no connection, where that is known

  private RendezvousClient(InetSocketAddress server, Membership self, Credentials credentials) {
    this.self = self;
    this.token = credentials.token();
    this.server = server;
    this.statusBoard = new RemoteStatusBoard(who(), this::ask, losses);
    this.eventLoop =
        new MultiThreadIoEventLoopGroup(
            1,
            new DefaultThreadFactory("rank-" + self.rank() + "-rendezvous", true),
            NioIoHandler.newFactory());
    this.channel =
        credentials
            .protect(NettyChannelBuilder.forAddress(server))
            .eventLoopGroup(eventLoop)
            .channelType(NioSocketChannel.class)
            .directExecutor()
            .maxInboundMessageSize(JoinMethod.MOST_BYTES)
            .build();
    // Waiting for a server that is not up yet is gRPC's work: it tries again and again, but waits
    // longer and longer in between, and says nothing meanwhile; neither is wanted here.
    Future<?> trying = eventLoop.scheduleAtFixedRate(this::tryAgain, 1, 1, TimeUnit.SECONDS);
    gathered.whenComplete((ranks, failure) -> trying.cancel(false));
    this.toServer =
        ClientCalls.asyncBidiStreamingCall(
            channel.newCall(JoinMethod.OF_RANK, CallOptions.DEFAULT.withWaitForReady()),
            new Listener());
  }

  /**
   * Joins, and waits until all ranks have. A server that is not there yet is waited for.
   *
   * @throws RendezvousRefusedException where the server does not take this rank, or is of another
   *     job
   * @throws RendezvousTimeoutException where it, or a rank, has not come in time
   */
  public static Members join(
      InetSocketAddress server, Membership self, Credentials credentials, Duration timeout)
      throws InterruptedException {
    RendezvousClient client = new RendezvousClient(server, self, credentials);
    boolean hasJoined = false;
    try {
      Members members = client.await(Deadline.after(timeout));
      hasJoined = true;
      return members;
    } finally {
      if (!hasJoined) {
        client.close();
      }
    }
  }

  private Members await(Deadline deadline) throws InterruptedException {
    send(
        FromRank.newBuilder()
            .setHello(
                Hello.newBuilder()
                    .setProtocol(RendezvousServer.PROTOCOL)
                    .setChallenge(ByteString.copyFrom(challenge)))
            .build());
    try {
      return new Members(awaitGathered(deadline), this);
    } catch (TimeoutException e) {
      RendezvousTimeoutException late =
          new RendezvousTimeoutException(
              who()
                  + ": no rendezvous at "
                  + server
                  + " within "
                  + deadline.text()
                  + (obstacle.isEmpty() ? "" : " (" + obstacle + ")")
                  + ". Look whether the launcher runs there, a firewall lets it through and --tls"
                  + " is the same on all ranks.");
      late.initCause(e);
      throw late;
    } catch (ExecutionException e) {
      if (e.getCause() instanceof RendezvousException refused) {
        throw refused;
      }
      throw new IllegalStateException("Only the rendezvous' own failures come here", e);
    }
  }

  /**
   * A server that is there has a deadline of its own, the better one to fail with: it knows who is
   * missing, and has those that wait for them log what they do before it says so.
   */
  private List<RankAddress> awaitGathered(Deadline deadline)
      throws InterruptedException, ExecutionException, TimeoutException {
    try {
      return gathered.get(Math.max(0, deadline.remainingNanos()), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      if (!isServerProven) {
        throw e;
      }
      return gathered.get(SERVER_OWN_GRACE_NANOS, TimeUnit.NANOSECONDS);
    }
  }

  /** On the event loop: looks why there is no connection, and has gRPC try anew. */
  private void tryAgain() {
    if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
      ClientCall<FromRank, InputStream> probe =
          channel.newCall(
              JoinMethod.OF_RANK,
              CallOptions.DEFAULT.withDeadlineAfter(PROBE_MILLIS, TimeUnit.MILLISECONDS));
      probe.start(
          new ClientCall.Listener<>() {
            @Override
            public void onClose(Status status, Metadata trailers) {
              cannotConnect(status);
            }
          },
          new Metadata());
    }
    channel.resetConnectBackoff();
  }

  private void cannotConnect(Status status) {
    if (status.getCode() != Status.Code.UNAVAILABLE) {
      return;
    }
    for (Throwable cause = status.getCause(); cause != null; cause = cause.getCause()) {
      if (cause instanceof SSLException) {
        fail(
            new RendezvousRefusedException(
                who()
                    + ": no encrypted connection to the rendezvous at "
                    + server
                    + " ("
                    + cause.getMessage()
                    + "). Either it is of another job, or --tls is not the same on all ranks."));
        return;
      }
      obstacle = String.valueOf(cause.getMessage());
    }
  }

  private String who() {
    return "rank " + self.rank() + "/" + self.worldSize();
  }

  private void answer(Challenge message) {
    byte[] theirs = message.getChallenge().toByteArray();
    if (!token.verify(challenge, Challenges.server(theirs), message.getProof().toByteArray())) {
      fail(
          new RendezvousRefusedException(
              who()
                  + ": the rendezvous at "
                  + server
                  + " is of another job, or of another attempt (PHALANX_ATTEMPT), for it does not"
                  + " hold this job's token. Name another port."));
      return;
    }
    isServerProven = true;
    byte[] proof = token.prove(theirs, Challenges.rank(self.rank(), self.worldSize(), challenge));
    send(
        FromRank.newBuilder()
            .setJoin(
                Join.newBuilder()
                    .setProof(ByteString.copyFrom(proof))
                    .setRank(self.rank())
                    .setWorldSize(self.worldSize())
                    .setFingerprint(self.fingerprint())
                    .setMember(
                        Member.newBuilder()
                            .setHost(self.dataAddress().getAddress().getHostAddress())
                            .setPort(self.dataAddress().getPort())
                            .setPid(ProcessHandle.current().pid())
                            .setHostName(HostName.of(self.dataAddress().getAddress()))
                            .setSharedMemory(self.sharedMemory().orElse(""))))
            .build());
  }

  /** On the event loop. */
  private void tellAlive() {
    if (isClosed.get() || ended.isDone() || unanswered > MOST_UNANSWERED) {
      return;
    }
    if (unanswered == MOST_UNANSWERED) {
      othersMayBeGone(
          "has given no sign of life for "
              + MOST_UNANSWERED * Gathering.HEARTBEAT.toSeconds()
              + " s: this host may be cut off");
    } else {
      send(FromRank.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()).build());
    }
    unanswered++;
  }

  private void send(FromRank message) {
    synchronized (toServer) { // gRPC's observers bear one thread at a time, and none after the end
      if (!hasLeft) {
        toServer.onNext(message);
      }
    }
  }

  /** {@link #send}, where there still is a server that could answer. */
  private void ask(FromRank message) {
    if (!isClosed.get() && !ended.isDone()) {
      send(message);
    }
  }

  private void gathered(dev.phalanx.collectives.rendezvous.wire.Members members) {
    List<RankAddress> ranks = new ArrayList<>();
    if (!isWholeWorld(members)) {
      fail(
          new RendezvousException(
              who() + ": the rendezvous at " + server + " named other ranks than the job has."));
      return;
    }
    for (Member member : members.getMembersList()) {
      try {
        ranks.add(
            new RankAddress(
                member.getRank(),
                new InetSocketAddress(InetAddress.getByName(member.getHost()), member.getPort()),
                member.getPid(),
                member.getHostName(),
                Optional.of(member.getSharedMemory()).filter(host -> !host.isEmpty())));
      } catch (UnknownHostException e) {
        fail(
            new RendezvousException(
                who()
                    + ": rank "
                    + member.getRank()
                    + " gave the address "
                    + member.getHost()
                    + ", which is none."));
        return;
      }
    }
    LOG.info(
        "{}: the rendezvous at {} answered after {} ms, all ranks had come after {} ms",
        who(),
        server,
        (answeredNanos - startNanos) / 1_000_000,
        (System.nanoTime() - startNanos) / 1_000_000);
    long period = Gathering.HEARTBEAT.toMillis();
    // With a fixed delay: a process that was stopped must not count what it has not waited for.
    eventLoop.scheduleWithFixedDelay(this::tellAlive, period, period, TimeUnit.MILLISECONDS);
    gathered.complete(ranks);
  }

  /** One of each rank, in order. */
  private boolean isWholeWorld(dev.phalanx.collectives.rendezvous.wire.Members members) {
    return members.getMembersList().stream()
        .map(Member::getRank)
        .toList()
        .equals(IntStream.range(0, self.worldSize()).boxed().toList());
  }

  private void refused(Refusal refusal) {
    String reason = who() + ": " + refusal.getReason();
    fail(
        refusal.getKind() == Refusal.Kind.TIMED_OUT
            ? new RendezvousTimeoutException(reason)
            : new RendezvousRefusedException(
                who() + " was refused at the rendezvous: " + refusal.getReason()));
  }

  private void fail(RendezvousException failure) {
    gathered.completeExceptionally(failure);
  }

  StatusBoard statusBoard() {
    return statusBoard;
  }

  void watch(Deliveries watched) {
    deliveries = watched;
    long period = Gathering.HEARTBEAT.toMillis();
    eventLoop.scheduleWithFixedDelay(
        () -> watched.look(this::askForDelivery), period, period, TimeUnit.MILLISECONDS);
  }

  /** On the event loop. */
  private void askForDelivery(int rank, Deliveries.Way way) {
    ask(
        FromRank.newBuilder()
            .setDeliveryQuery(DeliveryQuery.newBuilder().setRank(rank).setWay(Ways.write(way)))
            .build());
  }

  /** On the event loop. */
  private void answer(DeliveryQuery query) {
    Deliveries known = deliveries;
    if (known != null) {
      known
          .handedOver(query.getRank(), Ways.read(query.getWay()))
          .ifPresent(
              handedOver ->
                  send(
                      FromRank.newBuilder()
                          .setDeliveryReply(
                              DeliveryReply.newBuilder()
                                  .setRank(query.getRank())
                                  .setWay(query.getWay())
                                  .setHandedOver(handedOver))
                          .build()));
    }
  }

  private void tell(DeliveryReply reply) {
    Deliveries known = deliveries;
    if (known != null) {
      known.answered(reply.getRank(), Ways.read(reply.getWay()), reply.getHandedOver());
    }
  }

  /**
   * Nobody tells any more who is lost. Ranks that are about to end get the time for it; then none
   * waits for another without being told why.
   */
  private void serverIsGone() {
    if (isClosed.get() || !gathered.isDone() || gathered.isCompletedExceptionally()) {
      return;
    }
    eventLoop.schedule(
        () -> othersMayBeGone("has ended"), SERVER_GRACE_MILLIS, TimeUnit.MILLISECONDS);
  }

  private void othersMayBeGone(String whatServerDoes) {
    for (int rank = 0; rank < self.worldSize() && !isClosed.get(); rank++) {
      if (rank != self.rank()) {
        losses.found(
            rank,
            "may be gone: the rendezvous at " + server + ", which tells who is, " + whatServerDoes);
      }
    }
  }

  void onLost(Consumer<Members.LostRank> listener) {
    losses.listen(listener);
  }

  /** Ends the connection as a process that is killed does. */
  void breakOff() {
    isClosed.set(true);
    channel.shutdownNow();
    eventLoop.shutdownGracefully(0, SHUTDOWN_MILLIS, TimeUnit.MILLISECONDS);
  }

  /** Leaves where the rank has joined; a second call does nothing. */
  void close() {
    if (isClosed.getAndSet(true)) {
      return;
    }
    if (gathered.isDone() && !gathered.isCompletedExceptionally()) {
      leave();
    }
    breakOff();
  }

  /** Waits until the server has heard it: a connection that ends before would be a loss. */
  private void leave() {
    try {
      send(FromRank.newBuilder().setLeave(Leave.getDefaultInstance()).build());
      synchronized (toServer) { // see send
        hasLeft = true;
        toServer.onCompleted();
      }
      ended.get(LEAVE_MILLIS, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (ExecutionException | TimeoutException e) {
      LOG.debug("{}: the rendezvous has not heard that the rank leaves", who(), e);
    }
  }

  /** On the event loop. */
  private final class Listener implements StreamObserver<InputStream> {
    @Override
    public void onNext(InputStream unparsed) {
      FromServer message;
      try {
        message = JoinMethod.read(unparsed, FromServer.parser(), isServerProven);
      } catch (IOException e) {
        fail(
            new RendezvousRefusedException(
                who() + ": the rendezvous at " + server + " " + e.getMessage() + "."));
        throw new UncheckedIOException(e); // gRPC ends the call
      }
      unanswered = 0;
      if (!isServerProven && !UNPROVEN.contains(message.getContentCase())) {
        fail(
            new RendezvousRefusedException(
                who()
                    + ": what listens at "
                    + server
                    + " has not proven that it holds this job's token, and so is not its"
                    + " rendezvous. Name another port."));
        return;
      }
      switch (message.getContentCase()) {
        case CHALLENGE -> {
          answeredNanos = System.nanoTime();
          answer(message.getChallenge());
        }
        case MEMBERS -> gathered(message.getMembers());
        case REFUSAL -> refused(message.getRefusal());
        case LOST -> losses.told(message.getLost().getRank(), message.getLost().getReason());
        case STATUS_REQUEST -> statusBoard.answer(message.getStatusRequest());
        case STATUS_TABLE -> statusBoard.answered(message.getStatusTable());
        case DELIVERY_QUERY -> answer(message.getDeliveryQuery());
        case DELIVERY_REPLY -> tell(message.getDeliveryReply());
        case HEARTBEAT -> {
          // counted above
        }
        case CONTENT_NOT_SET -> {
          // A newer server may know more than this rank.
        }
      }
    }

    @Override
    public void onError(Throwable thrown) {
      LOG.debug("{}: the connection to the rendezvous has ended", who(), thrown);
      ended.complete(null);
      serverIsGone();
      fail(
          new RendezvousException(
              who()
                  + ": the rendezvous at "
                  + server
                  + " ended the connection: "
                  + thrown.getMessage()
                  + ". Look at the launcher's log."));
    }

    @Override
    public void onCompleted() {
      ended.complete(null);
      serverIsGone();
      fail(new RendezvousException(who() + ": the rendezvous at " + server + " has closed."));
    }
  }
}
