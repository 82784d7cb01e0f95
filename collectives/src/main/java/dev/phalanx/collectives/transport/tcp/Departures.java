package dev.phalanx.collectives.transport.tcp;

import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.EventLoop;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.util.ReferenceCountUtil;
import java.io.IOException;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Connections that this rank has left and the peer has not. Whatever the peer sends is dropped
 * until it closes its side too: had this side closed the socket, anything that comes would make the
 * kernels drop what is still on its way to the peer, this rank's last word with it.
 *
 * <p>Thread: any.
 */
final class Departures {
  /** For a peer that does not leave too; one that is silent for so long is lost. */
  static final Duration PATIENCE = Duration.ofSeconds(10);

  private final EventLoop eventLoop;
  private final ChannelGroup awaited;

  /**
   * @param eventLoop which takes in what nobody wants
   */
  Departures(EventLoop eventLoop) {
    this.eventLoop = eventLoop;
    this.awaited = new DefaultChannelGroup(eventLoop, true);
  }

  /**
   * Nothing is written to a connection any more.
   *
   * @param isAwaited whether {@link #await} is to wait for the peer
   */
  void add(SocketChannel socket, boolean isAwaited) {
    Channel channel;
    try {
      socket.shutdownOutput();
      channel = new NioSocketChannel(socket);
    } catch (IOException | RuntimeException e) {
      close(socket);
      return;
    }
    channel.pipeline().addLast(new Dropping());
    if (isAwaited) {
      awaited.add(channel);
    }
    eventLoop
        .register(channel)
        .addListener(
            registered -> {
              if (!registered.isSuccess()) { // the endpoint is closed
                channel.unsafe().closeForcibly();
              }
            });
  }

  /** Waits until the awaited peers have left too, as long as the patience lasts. */
  void await() {
    awaited.newCloseFuture().awaitUninterruptibly(PATIENCE.toMillis());
  }

  /** Of no further use, whatever is on its way. */
  static void close(SocketChannel socket) {
    try {
      socket.close();
    } catch (IOException e) {
      // It is gone all the same.
    }
  }

  /** The end of what comes closes the channel: that is Netty's own way. */
  private static final class Dropping extends ChannelInboundHandlerAdapter {
    @Override
    public void channelActive(ChannelHandlerContext context) throws Exception {
      Future<?> patience =
          context
              .executor()
              .schedule(() -> context.close(), PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
      context.channel().closeFuture().addListener(closed -> patience.cancel(false));
      super.channelActive(context);
    }

    @Override
    public void channelRead(ChannelHandlerContext context, Object unwanted) {
      ReferenceCountUtil.release(unwanted);
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
      context.close();
    }
  }
}
