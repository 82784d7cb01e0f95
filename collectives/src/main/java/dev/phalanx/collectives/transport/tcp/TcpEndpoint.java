package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.collectives.transport.PeerLostException;
import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/**
 * Where a rank listens for its peers, and from where it connects to them. One serves all groups of
 * a rank, with one thread for all connections.
 *
 * <p>Two ranks of a group have one connection from the moment that one of them needs it.
 */
public final class TcpEndpoint implements AutoCloseable {
  private record Slot(GroupId group, int peer) {}

  /** Of a message to a usual network; on the loopback device it is less. */
  public static final LinkCost COST = new LinkCost(20_000, 0.4);

  /** The payload that suits it best. */
  public static final int PIECE_BYTES = 256 * 1024;

  private final JobToken token;
  private final EventLoopGroup eventLoop;
  private final Channel listening;
  private final Map<Slot, Meeting> meetings = new ConcurrentHashMap<>();
  private final Refusals refusals = new Refusals();

  private TcpEndpoint(InetAddress address, JobToken token, String threadName) throws IOException {
    this.token = token;
    this.eventLoop =
        new MultiThreadIoEventLoopGroup(
            1, new DefaultThreadFactory(threadName, true), NioIoHandler.newFactory());
    try {
      this.listening = listen(new InetSocketAddress(address, 0));
    } catch (IOException e) {
      eventLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
      throw e;
    }
  }

  /**
   * Listens on a free port.
   *
   * @param address the loopback address unless the ranks are on several hosts
   * @param threadName for the thread that serves the connections
   * @throws IOException where the address cannot be listened on
   */
  public static TcpEndpoint listen(InetAddress address, JobToken token, String threadName)
      throws IOException {
    return new TcpEndpoint(address, token, threadName);
  }

  /** Where peers reach this endpoint. */
  public InetSocketAddress address() {
    return (InetSocketAddress) listening.localAddress();
  }

  /** Connections that were closed because who opened them is not one of the job's ranks. */
  public long refusedConnections() {
    return refusals.count();
  }

  private Channel listen(InetSocketAddress address) throws IOException {
    ServerBootstrap bootstrap =
        new ServerBootstrap()
            .group(eventLoop)
            .channelFactory(RawServerSocketChannel::new)
            .childOption(ChannelOption.TCP_NODELAY, true)
            .childHandler(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel channel) {
                    channel
                        .pipeline()
                        .addLast(
                            new ListenerHandshake(
                                token, hello -> meeting(hello.group(), hello.from()), refusals));
                  }
                });
    var bound = bootstrap.bind(address).awaitUninterruptibly();
    if (!bound.isSuccess()) {
      throw new IOException(
          "Cannot listen on " + address + ": " + bound.cause().getMessage(), bound.cause());
    }
    return bound.channel();
  }

  /**
   * This rank's links to the others of a group. They are opened when they are used first, by
   * whoever needs one.
   *
   * @param rank this rank's number in the group
   * @param members every rank's address, in order
   * @param timeout for a connection to be opened
   * @return by peer; what stands at this rank's own place is not used
   */
  public List<Link> links(
      GroupId group, int rank, List<InetSocketAddress> members, Duration timeout) {
    Waiting waiting = new Waiting();
    List<Link> links = new ArrayList<>();
    for (int peer = 0; peer < members.size(); peer++) {
      Hello hello = new Hello(group, rank, peer);
      InetSocketAddress address = members.get(peer);
      Meeting meeting = meeting(group, peer);
      links.add(
          new TcpLink(peer, meeting, opened -> open(hello, address, timeout, opened), waiting));
    }
    return links;
  }

  private Meeting meeting(GroupId group, int peer) {
    return meetings.computeIfAbsent(new Slot(group, peer), absent -> new Meeting());
  }

  private void open(
      Hello hello, InetSocketAddress address, Duration timeout, CompletableFuture<PeerSocket> met) {
    new Bootstrap()
        .group(eventLoop)
        .channelFactory(RawSocketChannel::new)
        .option(ChannelOption.TCP_NODELAY, true)
        .option(
            ChannelOption.CONNECT_TIMEOUT_MILLIS,
            (int) Math.min(Integer.MAX_VALUE, Math.max(1, timeout.toMillis())))
        .handler(
            new ChannelInitializer<Channel>() {
              @Override
              protected void initChannel(Channel channel) {
                channel.pipeline().addLast(new ConnectorHandshake(token, hello, met));
              }
            })
        .connect(address)
        .addListener(
            done -> {
              if (!done.isSuccess()) {
                met.completeExceptionally(
                    new PeerLostException(
                        hello.to(),
                        "cannot be reached at " + address + ": " + done.cause().getMessage()));
              }
            });
  }

  /** Stops listening and closes what is still open. */
  @Override
  public void close() {
    listening.close();
    meetings.values().forEach(meeting -> meeting.met().thenAccept(TcpLink::close));
    eventLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
  }
}
