package dev.phalanx.collectives.transport.grpc;

import dev.phalanx.collectives.security.Credentials;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Endpoint;
import dev.phalanx.collectives.transport.Frame;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.collectives.transport.handshake.ConnectingSide;
import dev.phalanx.collectives.transport.handshake.Hello;
import dev.phalanx.collectives.transport.handshake.KeepAlive;
import dev.phalanx.collectives.transport.handshake.ListeningSide;
import dev.phalanx.collectives.transport.handshake.Meeting;
import dev.phalanx.collectives.transport.handshake.Meetings;
import dev.phalanx.collectives.transport.handshake.Refusals;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.NettyServerBuilder;
import io.netty.channel.AdaptiveRecvByteBufAllocator;
import io.netty.channel.Channel;
import io.netty.channel.ChannelOption;
import io.netty.channel.RecvByteBufAllocator;
import io.netty.channel.WriteBufferWaterMark;
import io.netty.channel.socket.nio.NioSocketChannel;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/**
 * A rank's endpoint on gRPC, with one thread for all its streams. Each stream has a connection of
 * its own: HTTP/2 shares a connection's window among its streams, so a group whose rank does not
 * read would hold up the others.
 */
public final class GrpcEndpoint implements Endpoint {
  /** Of a message to a usual network; on the loopback device it is less. */
  public static final LinkCost COST = new LinkCost(40_000, 0.6);

  /** The payload that suits it best. */
  public static final int PIECE_BYTES = 256 * 1024;

  static final String CARRIER = "grpc";

  /** gRPC gets a message when it has less than this to send: nothing. */
  static final int READY_BYTES = 1;

  /** What may be under way on a stream, or lie unread in gRPC: enough for 30 Gbit/s over 1 ms. */
  private static final int WINDOW_BYTES = 4 << 20;

  private static final int MESSAGE_BYTES = Frame.HEADER_BYTES + PIECE_BYTES;
  private static final int READ_BYTES = 256 * 1024;
  private static final WriteBufferWaterMark WRITE_BYTES =
      new WriteBufferWaterMark(512 * 1024, 1 << 20);

  private final Credentials credentials;
  private final SharedEventLoop eventLoop;
  private final Server server;
  private final InetSocketAddress address;
  private final Meetings<PeerStream> meetings = new Meetings<>(1);
  private final Set<ManagedChannel> channels = ConcurrentHashMap.newKeySet();
  private final Refusals refusals = new Refusals();

  private GrpcEndpoint(InetAddress address, Credentials credentials, String threadName)
      throws IOException {
    this.credentials = credentials;
    this.eventLoop = new SharedEventLoop(threadName);
    this.server =
        credentials
            .protect(NettyServerBuilder.forAddress(new InetSocketAddress(address, 0)))
            .bossEventLoopGroup(eventLoop)
            .workerEventLoopGroup(eventLoop)
            .channelFactory(() -> new WatchedServerChannel(refusals))
            .withChildOption(ChannelOption.TCP_NODELAY, true)
            .withChildOption(ChannelOption.RCVBUF_ALLOCATOR, readBuffers())
            .withChildOption(ChannelOption.WRITE_BUFFER_WATER_MARK, WRITE_BYTES)
            .directExecutor() // nothing that it calls waits
            .flowControlWindow(WINDOW_BYTES)
            .maxInboundMessageSize(MESSAGE_BYTES)
            .maxConcurrentCallsPerConnection(1)
            .maxConnectionIdle(ListeningSide.PATIENCE.toMillis(), TimeUnit.MILLISECONDS)
            .addStreamTracerFactory(ArrivedBytes.ofAcceptedCalls())
            .addService(
                ServerServiceDefinition.builder(FrameMethod.SERVICE)
                    .addMethod(FrameMethod.EXCHANGE, this::accept)
                    .build())
            .build();
    try {
      server.start();
    } catch (IOException e) {
      eventLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
      throw e;
    }
    this.address = new InetSocketAddress(address, server.getPort());
  }

  /**
   * Listens on a free port.
   *
   * @param address the loopback address unless the ranks are on several hosts
   * @param threadName for the thread that serves the streams
   * @throws IllegalArgumentException where the address is the wildcard
   * @throws IOException where the address cannot be listened on
   */
  public static GrpcEndpoint listen(InetAddress address, Credentials credentials, String threadName)
      throws IOException {
    ListeningSide.requireOneAddress(address);
    return new GrpcEndpoint(address, credentials, threadName);
  }

  /**
   * Large reads, for each is a call of the system, and one at a time: what it has brought is dealt
   * with while it is in the core's cache.
   */
  private static RecvByteBufAllocator readBuffers() {
    return new AdaptiveRecvByteBufAllocator(64, 2048, READ_BYTES).maxMessagesPerRead(1);
  }

  @Override
  public InetSocketAddress address() {
    return address;
  }

  @Override
  public String name() {
    return CARRIER;
  }

  @Override
  public LinkCost cost() {
    return COST;
  }

  @Override
  public int pieceBytes() {
    return PIECE_BYTES;
  }

  /** Streams that were cut off because who opened them is not one of the job's ranks. */
  public long refusedStreams() {
    return refusals.count();
  }

  private ServerCall.Listener<InputStream> accept(
      ServerCall<InputStream, InputStream> call, Metadata headers) {
    ListeningStream stream = new ListeningStream(call, credentials.token(), meetings, refusals);
    eventLoop.schedule(
        stream::requireProven, ListeningSide.PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
    return stream.start();
  }

  @Override
  public List<Link> links(
      GroupId group, int rank, List<InetSocketAddress> members, Duration timeout) {
    meetings.join(group, rank, stream -> stream.cut("not this rank's"));
    List<Link> links = new ArrayList<>();
    for (int peer = 0; peer < members.size(); peer++) {
      Hello hello = new Hello(CARRIER, group, rank, peer);
      InetSocketAddress target = members.get(peer);
      Meeting<PeerStream> meeting = peer == rank ? new Meeting<>() : meetings.with(group, peer, 0);
      links.add(
          GrpcLink.to(peer, eventLoop, meeting, opened -> open(hello, target, timeout, opened)));
    }
    return links;
  }

  private void open(
      Hello hello,
      InetSocketAddress target,
      Duration timeout,
      CompletableFuture<PeerStream> opened) {
    ManagedChannel channel =
        credentials
            .protect(NettyChannelBuilder.forAddress(target))
            .eventLoopGroup(eventLoop)
            .channelFactory(GrpcEndpoint::channel)
            .withOption(ChannelOption.TCP_NODELAY, true)
            .withOption(
                ChannelOption.CONNECT_TIMEOUT_MILLIS,
                Deadline.millis(ConnectingSide.patience(timeout)))
            .withOption(ChannelOption.RCVBUF_ALLOCATOR, readBuffers())
            .withOption(ChannelOption.WRITE_BUFFER_WATER_MARK, WRITE_BYTES)
            .directExecutor() // nothing that it calls waits
            .disableRetry() // it would keep copies of messages
            .flowControlWindow(WINDOW_BYTES)
            .maxInboundMessageSize(MESSAGE_BYTES)
            .build();
    channels.removeIf(ManagedChannel::isTerminated);
    channels.add(channel);
    ConnectingStream stream =
        new ConnectingStream(channel, target, credentials.token(), hello, opened);
    eventLoop.schedule(
        stream::requireAnswered, ConnectingSide.PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
    stream.start();
  }

  private static Channel channel() {
    NioSocketChannel channel = new NioSocketChannel();
    KeepAlive.on(channel);
    return channel;
  }

  @Override
  public void close() {
    server.shutdownNow();
    channels.forEach(ManagedChannel::shutdownNow);
    eventLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
  }
}
