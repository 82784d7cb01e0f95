package dev.phalanx.collectives.transport.grpc;

import dev.phalanx.collectives.transport.handshake.KeepAlive;
import dev.phalanx.collectives.transport.handshake.Refusals;
import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.ssl.SslHandler;
import java.net.SocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A listening socket that counts who does not come as far as gRPC's calls: gRPC closes such
 * connections itself and tells nobody.
 */
public final class WatchedServerChannel extends NioServerSocketChannel {
  private final Refusals refusals;

  /**
   * @param refusals hears of those who speak no HTTP/2, or have failed to show a certificate of the
   *     job
   */
  public WatchedServerChannel(Refusals refusals) {
    this.refusals = refusals;
  }

  @Override
  protected int doReadMessages(List<Object> accepted) throws Exception {
    int before = accepted.size();
    int count = super.doReadMessages(accepted);
    for (Object channel : accepted.subList(before, accepted.size())) {
      KeepAlive.on((Channel) channel);
      ((Channel) channel).pipeline().addLast(new HandshakeWatch(refusals));
    }
    return count;
  }

  /** What HTTP/2 begins with. */
  private static final byte[] PREFACE =
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".getBytes(StandardCharsets.US_ASCII);

  private static final class HandshakeWatch extends ChannelInboundHandlerAdapter {
    private final Refusals refusals;
    private @Nullable SocketAddress from; // a closed socket does not tell
    private int matched; // of the preface
    private boolean isOther;

    HandshakeWatch(Refusals refusals) {
      this.refusals = refusals;
    }

    @Override
    public void channelActive(ChannelHandlerContext context) {
      from = context.channel().remoteAddress();
      context.fireChannelActive();
    }

    @Override
    public void channelRead(ChannelHandlerContext context, Object message) {
      if (message instanceof ByteBuf bytes) {
        match(bytes);
      }
      context.fireChannelRead(message);
      boolean isHttp2 = !isOther && matched == PREFACE.length;
      if (isHttp2 && !context.isRemoved() && context.pipeline().get(SslHandler.class) == null) {
        context.pipeline().remove(this); // the rest is frames, which nobody needs to look at here
      }
    }

    private void match(ByteBuf bytes) {
      int end = bytes.writerIndex();
      for (int i = bytes.readerIndex(); i < end && matched < PREFACE.length && !isOther; i++) {
        isOther = bytes.getByte(i) != PREFACE[matched];
        matched++;
      }
    }

    @Override
    public void channelInactive(ChannelHandlerContext context) {
      SslHandler tls = context.pipeline().get(SslHandler.class);
      if (tls == null) {
        refusals.add(from, "does not speak HTTP/2: it is no rank of this job");
      } else if (tls.handshakeFuture().cause() != null) {
        refusals.add(from, "has failed in its TLS handshake: it is no rank of this job");
      }
      context.fireChannelInactive();
    }
  }
}
