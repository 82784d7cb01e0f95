package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.handshake.Hello;
import dev.phalanx.collectives.transport.handshake.ListeningSide;
import dev.phalanx.collectives.transport.handshake.Meeting;
import dev.phalanx.collectives.transport.handshake.Meetings;
import dev.phalanx.collectives.transport.handshake.Refusals;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The listening side of {@link Hello}, its messages cut out of a stream of bytes. Whoever speaks
 * otherwise, does not prove the token or takes too long is cut off without an answer.
 */
final class ListenerHandshake extends ByteToMessageDecoder {
  private final ListeningSide side;
  private final Meetings<PeerSocket> meetings;
  private final Refusals refusals;
  private @Nullable SocketAddress from; // a closed socket does not tell
  private boolean isGreeted;
  private boolean isDone;

  /**
   * @param meetings where the connections of two ranks meet
   */
  ListenerHandshake(JobToken token, Meetings<PeerSocket> meetings, Refusals refusals) {
    this.side = new ListeningSide(token, TcpEndpoint.CARRIER);
    this.meetings = meetings;
    this.refusals = refusals;
  }

  @Override
  public void channelActive(ChannelHandlerContext context) {
    from = context.channel().remoteAddress();
    context.writeAndFlush(Unpooled.wrappedBuffer(side.greeting()));
    Future<?> patience =
        context
            .executor()
            .schedule(
                () -> refuse(context, ListeningSide.SILENT),
                ListeningSide.PATIENCE.toMillis(),
                TimeUnit.MILLISECONDS);
    context.channel().closeFuture().addListener(closed -> patience.cancel(false));
  }

  @Override
  protected void decode(ChannelHandlerContext context, ByteBuf in, List<Object> out) {
    try {
      if (!isDone && !isGreeted && in.readableBytes() >= Hello.MAGIC_BYTES) {
        isGreeted = true;
        ListeningSide.requireMagic(in.nioBuffer(in.readerIndex(), Hello.MAGIC_BYTES));
      }
      if (!isDone && in.readableBytes() >= Hello.HELLO_BYTES) {
        ByteBuffer message = ByteBuffer.allocate(Hello.HELLO_BYTES);
        in.readBytes(message);
        accept(context, side.hello(message.flip()));
      }
    } catch (IllegalArgumentException e) {
      refuse(context, String.valueOf(e.getMessage()));
    }
  }

  private void accept(ChannelHandlerContext context, Hello hello) {
    isDone = true;
    Meetings.Arrival<PeerSocket> arrival = meetings.arrive(hello);
    context.channel().config().setAutoRead(false);
    ChannelFuture answered =
        context.writeAndFlush(Unpooled.wrappedBuffer(side.answer(hello, arrival.answer())));
    if (arrival.answer().kind() == Meeting.Answer.Kind.WELCOME) {
      answered.addListener(
          done ->
              RawSocketChannel.release(context.channel(), ByteBuffer.allocate(0), arrival.met()));
    } else {
      answered.addListener(ChannelFutureListener.CLOSE);
    }
  }

  private void refuse(ChannelHandlerContext context, String reason) {
    if (!isDone) {
      isDone = true;
      refusals.add(from, reason);
      context.close();
    }
  }

  @Override
  public void channelInactive(ChannelHandlerContext context) throws Exception {
    super.channelInactive(context);
    refuse(context, "went away before it had told who it is");
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
    context.close();
  }
}
