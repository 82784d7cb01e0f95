package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.CollectiveTimeoutException;
import dev.phalanx.collectives.rendezvous.JobToken;
import dev.phalanx.collectives.transport.Deadline;
import dev.phalanx.collectives.transport.Transport;
import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.FixedRecvByteBufAllocator;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.RecvByteBufAllocator;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Where a rank listens for its peers, and from where it connects to them. One serves all groups of
 * a rank, with one thread for all connections.
 *
 * <p>Every pair of a group's ranks has one connection; the later rank opens it. All ranks see so at
 * once when one is lost.
 */
public final class TcpEndpoint implements AutoCloseable {
  private record Slot(GroupId group, int peer) {}

  private record Arrival(Hello hello, Channel channel) {}

  /** A whole frame of the usual size in one read. */
  private static final RecvByteBufAllocator READS = new FixedRecvByteBufAllocator(512 * 1024);

  private final JobToken token;
  private final EventLoopGroup eventLoop;
  private final Channel listening;
  private final Map<Slot, CompletableFuture<Arrival>> arrivals = new ConcurrentHashMap<>();

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

  private Channel listen(InetSocketAddress address) throws IOException {
    ServerBootstrap bootstrap =
        new ServerBootstrap()
            .group(eventLoop)
            .channel(NioServerSocketChannel.class)
            .childOption(ChannelOption.TCP_NODELAY, true)
            .childOption(ChannelOption.RECVBUF_ALLOCATOR, READS)
            .childHandler(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel channel) {
                    channel
                        .pipeline()
                        .addLast(new ListenerHandshake(token, TcpEndpoint.this::arrived));
                  }
                });
    var bound = bootstrap.bind(address).awaitUninterruptibly();
    if (!bound.isSuccess()) {
      throw new IOException(
          "Cannot listen on " + address + ": " + bound.cause().getMessage(), bound.cause());
    }
    return bound.channel();
  }

  private void arrived(Hello hello, Channel channel) {
    boolean isFirst =
        arrival(new Slot(hello.group(), hello.from())).complete(new Arrival(hello, channel));
    if (!isFirst) {
      channel.close();
    }
  }

  private CompletableFuture<Arrival> arrival(Slot slot) {
    return arrivals.computeIfAbsent(slot, absent -> new CompletableFuture<>());
  }

  /**
   * Connects this rank with all others of a group.
   *
   * @param rank this rank's number in the group
   * @param members every rank's address, in order
   * @throws CollectiveTimeoutException where a rank has not come in time; the message names it
   * @throws CollectiveException where a peer is of another job
   */
  public Transport connect(
      GroupId group, int rank, List<InetSocketAddress> members, Deadline deadline)
      throws InterruptedException {
    List<CompletableFuture<Channel>> channels = new ArrayList<>();
    for (int peer = 0; peer < members.size(); peer++) {
      if (peer < rank) {
        channels.add(open(new Hello(group, rank, peer), members.get(peer), deadline));
      } else if (peer > rank) {
        channels.add(arrival(new Slot(group, peer)).thenApply(arrived -> checked(arrived, rank)));
      } else {
        channels.add(CompletableFuture.completedFuture(listening)); // never used
      }
    }
    List<Channel> connected = new ArrayList<>();
    for (int peer = 0; peer < members.size(); peer++) {
      connected.add(await(channels.get(peer), rank, peer, members, deadline));
    }
    return new TcpTransport(rank, connected);
  }

  private static Channel checked(Arrival arrived, int rank) {
    if (arrived.hello().to() != rank) {
      throw new CollectiveException(
          "rank "
              + arrived.hello().from()
              + " looked for rank "
              + arrived.hello().to()
              + " and found rank "
              + rank
              + ": the ranks disagree about who is where.");
    }
    return arrived.channel();
  }

  private CompletableFuture<Channel> open(
      Hello hello, InetSocketAddress address, Deadline deadline) {
    CompletableFuture<Channel> connected = new CompletableFuture<>();
    long millis = Math.max(1, TimeUnit.NANOSECONDS.toMillis(deadline.remainingNanos()));
    new Bootstrap()
        .group(eventLoop)
        .channel(NioSocketChannel.class)
        .option(ChannelOption.TCP_NODELAY, true)
        .option(ChannelOption.RECVBUF_ALLOCATOR, READS)
        .option(ChannelOption.CONNECT_TIMEOUT_MILLIS, (int) Math.min(Integer.MAX_VALUE, millis))
        .handler(
            new ChannelInitializer<Channel>() {
              @Override
              protected void initChannel(Channel channel) {
                channel.pipeline().addLast(new ConnectorHandshake(token, hello, connected));
              }
            })
        .connect(address)
        .addListener(
            done -> {
              if (!done.isSuccess()) {
                connected.completeExceptionally(
                    new CollectiveException(
                        "rank "
                            + hello.from()
                            + " cannot connect to rank "
                            + hello.to()
                            + " at "
                            + address
                            + ": "
                            + done.cause().getMessage(),
                        done.cause()));
              }
            });
    return connected;
  }

  private static Channel await(
      CompletableFuture<Channel> channel,
      int rank,
      int peer,
      List<InetSocketAddress> members,
      Deadline deadline)
      throws InterruptedException {
    try {
      return channel.get(Math.max(0, deadline.remainingNanos()), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      CollectiveTimeoutException late =
          new CollectiveTimeoutException(
              "rank "
                  + rank
                  + "/"
                  + members.size()
                  + " connecting: no connection with rank "
                  + peer
                  + " at "
                  + members.get(peer)
                  + " within "
                  + deadline.text()
                  + ". Look whether that rank runs and a firewall lets it through.");
      late.initCause(e);
      throw late;
    } catch (ExecutionException e) {
      if (e.getCause() instanceof CollectiveException refused) {
        throw refused;
      }
      throw new CollectiveException("rank " + rank + " connecting to rank " + peer + " failed", e);
    }
  }

  /** Stops listening and closes what is still open. */
  @Override
  public void close() {
    listening.close();
    eventLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
  }
}
