package dev.phalanx.collectives.rendezvous;

import dev.phalanx.collectives.rendezvous.wire.FromServer;
import dev.phalanx.collectives.rendezvous.wire.RendezvousGrpc;
import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.status.RankStatus;
import dev.phalanx.collectives.transport.grpc.WatchedServerChannel;
import dev.phalanx.collectives.transport.handshake.ListeningSide;
import dev.phalanx.collectives.transport.handshake.Refusals;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.io.InputStream;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.time.Duration;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * Where the ranks of a job meet. A rank is let in when it has proven the job's token and fits the
 * job; when the last one has come, all are told where the others are. From then on the server tells
 * who is lost.
 *
 * <p>It listens on the loopback address unless it is told otherwise. The token never travels.
 */
public final class RendezvousServer implements AutoCloseable {
  static final int PROTOCOL = 2;
  private static final long SHUTDOWN_MILLIS = 1000;

  /** A rank's own, and one that only looks whether there is a server. */
  private static final int CALLS = 2;

  /** A host that swaps or a JVM that collects garbage may be quiet for a few seconds. */
  private static final Duration SILENCE = Duration.ofSeconds(6);

  private final EventLoopGroup eventLoop;
  private final Gathering gathering;
  private final Server server;
  private final Refusals refusals = new Refusals();

  private RendezvousServer(
      InetSocketAddress address,
      int worldSize,
      Credentials credentials,
      Duration timeout,
      Duration silence)
      throws IOException {
    this.eventLoop =
        new MultiThreadIoEventLoopGroup(
            1, new DefaultThreadFactory("rendezvous-server", true), NioIoHandler.newFactory());
    this.gathering = new Gathering(worldSize, timeout, silence, eventLoop);
    this.server =
        credentials
            .protect(NettyServerBuilder.forAddress(address))
            .bossEventLoopGroup(eventLoop)
            .workerEventLoopGroup(eventLoop)
            .channelFactory(() -> new WatchedServerChannel(refusals))
            .directExecutor() // every call only looks at a small table
            // gRPC keeps what it has of a message before anybody looks at it, a stranger's too.
            .maxInboundMessageSize(JoinMethod.MOST_OF_RANK_BYTES)
            .maxConcurrentCallsPerConnection(CALLS)
            .maxConnectionIdle(ListeningSide.PATIENCE.toMillis(), TimeUnit.MILLISECONDS)
            .intercept(new Origin())
            .addService(
                ServerServiceDefinition.builder(RendezvousGrpc.SERVICE_NAME)
                    .addMethod(
                        JoinMethod.OF_SERVER,
                        ServerCalls.asyncBidiStreamingCall(
                            toRank -> join(credentials.token(), toRank)))
                    .build())
            .build();
    try {
      server.start();
    } catch (IOException e) {
      eventLoop.shutdownGracefully(0, SHUTDOWN_MILLIS, TimeUnit.MILLISECONDS);
      throw e;
    }
  }

  /**
   * Listens and lets ranks in.
   *
   * @param address port 0: any free one
   * @param credentials the job's; every rank has such
   * @param timeout how long ranks wait for the last one, from the moment that the first has come
   * @throws IllegalArgumentException where the address is the wildcard
   * @throws PortInUseException where another process listens on that port
   * @throws IOException where the address cannot be listened on
   */
  public static RendezvousServer start(
      InetSocketAddress address, int worldSize, Credentials credentials, Duration timeout)
      throws IOException {
    return start(address, worldSize, credentials, timeout, SILENCE);
  }

  /**
   * @param silence after which a rank that has given no sign of life counts as lost; at least some
   *     seconds, for ranks give one each second
   */
  static RendezvousServer start(
      InetSocketAddress address,
      int worldSize,
      Credentials credentials,
      Duration timeout,
      Duration silence)
      throws IOException {
    if (!address.isUnresolved()) { // one that is not known fails below
      ListeningSide.requireOneAddress(address.getAddress());
    }
    try {
      return new RendezvousServer(address, worldSize, credentials, timeout, silence);
    } catch (IOException e) {
      if (hasBindException(e)) {
        throw new PortInUseException(
            "the port "
                + address.getPort()
                + " on "
                + address.getHostString()
                + " is in use by another process. Name another one: by MASTER_PORT, the same for"
                + " all ranks, or by --port where all are of this host; without either any free"
                + " one is taken there.",
            e);
      }
      throw e;
    }
  }

  private static boolean hasBindException(IOException thrown) {
    for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
      if (cause instanceof BindException) {
        return true;
      }
    }
    return false;
  }

  /**
   * Hears where the ranks are whenever one of them has waited in vain: by rank of the job, in each
   * of its groups. A rank that is missing has given no answer. On the server's thread.
   */
  public void onInquiry(Consumer<SortedMap<Integer, List<RankStatus>>> listener) {
    gathering.onInquiry(
        answers -> {
          SortedMap<Integer, List<RankStatus>> statuses = new TreeMap<>();
          answers.forEach(
              (rank, answer) -> statuses.put(rank, answer.stream().map(Statuses::read).toList()));
          listener.accept(statuses);
        });
  }

  /**
   * Hears which ranks have not come in time, before those that have are told and give up. On the
   * server's thread.
   */
  public void onAbsence(Consumer<List<Integer>> listener) {
    gathering.onAbsence(listener);
  }

  public int port() {
    return server.getPort();
  }

  @Override
  public void close() {
    server.shutdownNow();
    eventLoop.shutdownGracefully(0, SHUTDOWN_MILLIS, TimeUnit.MILLISECONDS);
  }

  private StreamObserver<InputStream> join(JobToken token, StreamObserver<FromServer> toRank) {
    // With a handler of its own a message to a rank that has just gone is dropped, not an error.
    ((ServerCallStreamObserver<FromServer>) toRank).setOnCancelHandler(() -> {});
    SocketAddress from = Origin.ofThisCall();
    ServerSession session =
        new ServerSession(
            token, gathering, toRank, reason -> refusals.add(from, "is turned away: " + reason));
    eventLoop.schedule(
        session::requireProven, ListeningSide.PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
    return session;
  }

  /** Streams that were turned away, because who opened them is not one of the job's ranks. */
  public long refusedConnections() {
    return refusals.count();
  }
}
