package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.security.JobToken;
import dev.phalanx.collectives.transport.PeerLostException;
import dev.phalanx.collectives.transport.handshake.ConnectingSide;
import dev.phalanx.collectives.transport.handshake.Hello;
import dev.phalanx.collectives.transport.handshake.Meeting;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** The connecting side of {@link Hello}, its messages cut out of a stream of bytes. */
final class ConnectorHandshake extends ByteToMessageDecoder {
  private enum State {
    GREETING,
    ANSWER,
    DONE
  }

  private final int peer;
  private final ConnectingSide side;
  private final CompletableFuture<PeerSocket> connected;
  private State state = State.GREETING;

  /**
   * @param connected gets the connection, or the reason why there is none; nothing where the other
   *     side opens one itself
   */
  ConnectorHandshake(JobToken token, Hello hello, CompletableFuture<PeerSocket> connected) {
    this.peer = hello.to();
    this.side = new ConnectingSide(token, hello);
    this.connected = connected;
  }

  /** A network may take bytes and deliver none. */
  @Override
  public void channelActive(ChannelHandlerContext context) {
    Future<?> patience =
        context
            .executor()
            .schedule(
                () -> giveUp(context), ConnectingSide.PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
    context.channel().closeFuture().addListener(closed -> patience.cancel(false));
    context.fireChannelActive();
  }

  private void giveUp(ChannelHandlerContext context) {
    if (state != State.DONE) {
      state = State.DONE;
      connected.completeExceptionally(
          new PeerLostException(peer, ConnectingSide.silent(context.channel().remoteAddress())));
      context.close();
    }
  }

  @Override
  protected void decode(ChannelHandlerContext context, ByteBuf in, List<Object> out) {
    try {
      switch (state) {
        case GREETING -> {
          if (in.readableBytes() >= Hello.GREETING_BYTES) {
            state = State.ANSWER;
            ByteBuffer hello = side.hello(take(in, Hello.GREETING_BYTES));
            context.writeAndFlush(Unpooled.wrappedBuffer(hello));
          }
        }
        case ANSWER -> {
          int readable = in.readableBytes();
          if (readable >= Hello.ANSWER_BYTES) {
            int length = ConnectingSide.answerBytes(in.nioBuffer());
            if (readable >= length) {
              state = State.DONE;
              accept(context, side.answer(take(in, length)), in);
            }
          }
        }
        case DONE -> {
          // The rest is the link's.
        }
      }
    } catch (IllegalArgumentException e) {
      fail(context, String.valueOf(e.getMessage()));
    }
  }

  private static ByteBuffer take(ByteBuf in, int bytes) {
    ByteBuffer taken = ByteBuffer.allocate(bytes);
    in.readBytes(taken);
    return taken.flip();
  }

  private void accept(ChannelHandlerContext context, Meeting.Answer answer, ByteBuf in) {
    context.channel().config().setAutoRead(false); // what comes next is the link's
    switch (answer.kind()) {
      case WELCOME ->
          RawSocketChannel.release(context.channel(), take(in, in.readableBytes()), connected);
      case OVER -> {
        connected.completeExceptionally(new PeerLostException(peer, answer.reason()));
        context.close();
      }
      case CROSSED -> context.close();
    }
  }

  private void fail(ChannelHandlerContext context, String clause) {
    connected.completeExceptionally(
        side.failure(String.valueOf(context.channel().remoteAddress()), clause));
    context.close();
  }

  @Override
  public void channelInactive(ChannelHandlerContext context) {
    if (state != State.DONE) {
      fail(context, "closed the connection before it was open, so it is of another job or is gone");
    }
    context.fireChannelInactive();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
    fail(context, "has a broken connection: " + cause.getMessage());
  }
}
