package dev.phalanx.collectives.transport.tcp;

import dev.phalanx.collectives.CollectiveException;
import dev.phalanx.collectives.rendezvous.JobToken;
import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** The connecting side of {@link Hello}. */
final class ConnectorHandshake extends ByteToMessageDecoder {
  private enum State {
    GREETING,
    PROOF,
    DONE
  }

  private final JobToken token;
  private final Hello hello;
  private final CompletableFuture<Channel> connected;
  private final byte[] challenge = Hello.newChallenge();
  private State state = State.GREETING;

  /**
   * @param connected gets the channel, with reading switched off, or the reason why there is none
   */
  ConnectorHandshake(JobToken token, Hello hello, CompletableFuture<Channel> connected) {
    this.token = token;
    this.hello = hello;
    this.connected = connected;
  }

  @Override
  protected void decode(ChannelHandlerContext context, ByteBuf in, List<Object> out) {
    switch (state) {
      case GREETING -> {
        if (in.readableBytes() >= Hello.GREETING_BYTES) {
          state = State.PROOF;
          answer(context, in);
        }
      }
      case PROOF -> {
        if (in.readableBytes() >= Hello.PROOF_BYTES) {
          state = State.DONE;
          verify(context, in);
        }
      }
      case DONE -> {
        // Frames wait here until a reader takes this handler's place.
      }
    }
  }

  private void answer(ChannelHandlerContext context, ByteBuf in) {
    try {
      Hello.readMagic(in);
    } catch (IllegalArgumentException e) {
      fail(context, String.valueOf(e.getMessage()));
      return;
    }
    byte[] theirChallenge = new byte[Hello.CHALLENGE_BYTES];
    in.readBytes(theirChallenge);
    ByteBuf message = context.alloc().buffer(Hello.HELLO_BYTES);
    Hello.writeMagic(message);
    hello.write(message);
    message.writeBytes(challenge).writeBytes(hello.connectorProof(token, theirChallenge));
    context.writeAndFlush(message);
  }

  private void verify(ChannelHandlerContext context, ByteBuf in) {
    byte[] proof = new byte[Hello.PROOF_BYTES];
    in.readBytes(proof);
    if (!hello.isListener(token, challenge, proof)) {
      fail(context, "does not hold this job's token");
      return;
    }
    context.channel().config().setAutoRead(false);
    connected.complete(context.channel());
  }

  private void fail(ChannelHandlerContext context, String reason) {
    connected.completeExceptionally(
        new CollectiveException(
            "rank "
                + hello.from()
                + " connecting to rank "
                + hello.to()
                + " at "
                + context.channel().remoteAddress()
                + ": the other end "
                + reason
                + ". Start all ranks from one job and one version of Phalanx."));
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
