package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Endpoint;
import dev.phalanx.collectives.transport.GroupId;
import dev.phalanx.collectives.transport.Link;
import dev.phalanx.collectives.transport.LinkCost;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.handshake.ConnectingSide;
import dev.phalanx.collectives.transport.handshake.Hello;
import dev.phalanx.collectives.transport.handshake.KeepAlive;
import dev.phalanx.collectives.transport.handshake.Meeting;
import dev.phalanx.collectives.transport.handshake.Meetings;
import dev.phalanx.collectives.transport.handshake.Refusals;
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
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A rank's endpoint on TCP, with one thread that opens and greets on all its connections. Two ranks
 * of a group have one, or several that messages take in turn.
 */
public final class TcpEndpoint implements Endpoint {
  /** Of a message to a usual network; on the loopback device it is less. */
  public static final LinkCost COST = new LinkCost(20_000, 0.4);

  /** The payload that suits it best. */
  public static final int PIECE_BYTES = 256 * 1024;

  static final String CARRIER = "tcp";

  private static final Logger LOGGER = LoggerFactory.getLogger(TcpEndpoint.class);

  private final JobToken token;
  private final EventLoopGroup eventLoop;
  private final Channel listening;
  private final int streams;
  private final Meetings<PeerSocket> meetings;
  private final Refusals refusals = new Refusals();
  private final Departures departures;

  private TcpEndpoint(InetAddress address, JobToken token, String threadName, int streams)
      throws IOException {
    this.token = token;
    this.streams = streams;
    this.meetings = new Meetings<>(streams);
    this.eventLoop =
        new MultiThreadIoEventLoopGroup(
            1, new DefaultThreadFactory(threadName, true), NioIoHandler.newFactory());
    this.departures = new Departures(eventLoop.next());
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
   * @param streams connections between two ranks of a group; the same on all ranks
   * @throws IOException where the address cannot be listened on
   */
  public static TcpEndpoint listen(
      InetAddress address, JobToken token, String threadName, int streams) throws IOException {
    return new TcpEndpoint(address, token, threadName, streams);
  }

  @Override
  public InetSocketAddress address() {
    return (InetSocketAddress) listening.localAddress();
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
                    KeepAlive.on(channel);
                    channel.pipeline().addLast(new ListenerHandshake(token, meetings, refusals));
                  }
                });
    var bound = bootstrap.bind(address).awaitUninterruptibly();
    if (!bound.isSuccess()) {
      throw new IOException(
          "Cannot listen on " + address + ": " + bound.cause().getMessage(), bound.cause());
    }
    return bound.channel();
  }

  @Override
  public List<Link> links(
      GroupId group, int rank, List<InetSocketAddress> members, Duration timeout) {
    meetings.join(group, rank, socket -> Departures.close(socket.channel()));
    Waiting waiting = new Waiting();
    List<Link> links = new ArrayList<>();
    for (int peer = 0; peer < members.size(); peer++) {
      InetSocketAddress address = members.get(peer);
      List<TcpLink> toPeer = new ArrayList<>();
      for (int stream = 0; stream < streams; stream++) {
        Hello hello = new Hello(CARRIER, group, rank, peer, stream, streams);
        Meeting<PeerSocket> meeting =
            peer == rank ? new Meeting<>() : meetings.with(group, peer, stream);
        toPeer.add(
            new TcpLink(
                peer,
                meeting,
                opened -> open(hello, address, timeout, opened),
                waiting,
                departures));
      }
      links.add(streams == 1 ? toPeer.get(0) : new StripedLink(toPeer));
    }
    return links;
  }

  private void open(
      Hello hello, InetSocketAddress address, Duration timeout, CompletableFuture<PeerSocket> met) {
    long start = System.nanoTime();
    met.thenAccept(
        socket ->
            LOGGER.debug(
                "rank {} of {}: connected to rank {} at {} after {} ms",
                hello.from(),
                hello.group(),
                hello.to(),
                address,
                (System.nanoTime() - start) / 1_000_000));
    new Bootstrap()
        .group(eventLoop)
        .channelFactory(RawSocketChannel::new)
        .option(ChannelOption.TCP_NODELAY, true)
        .option(
            ChannelOption.CONNECT_TIMEOUT_MILLIS, Deadline.millis(ConnectingSide.patience(timeout)))
        .handler(
            new ChannelInitializer<Channel>() {
              @Override
              protected void initChannel(Channel channel) {
                KeepAlive.on(channel);
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

  /** Waits for peers to which something of a group that was left may still be on its way. */
  @Override
  public void close() {
    listening.close();
    meetings.forEach(socket -> Departures.close(socket.channel()));
    departures.await();
    eventLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
  }
}
